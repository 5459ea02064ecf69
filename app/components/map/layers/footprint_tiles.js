/** Tiles of the footprints that the server draws, for views that hold too many to be drawn here. */

const TILE_PX = 512;

export class FootprintTiles {
  constructor(L, api) {
    this.L = L;
    this.api = api;
    this.maps = [];
    this.layers = new Map();
    this.shown = null;
  }

  addMap(map) {
    map.createPane('overview').style.zIndex = 440;
    map.getPane('overview').style.pointerEvents = 'none';
    this.maps.push(map);
    if (this.shown) this.renew(map);
  }

  /** The parameters say everything that the tiles show; with others the old tiles stay until the new ones are there. */
  show(params, opacity) {
    this.opacity = opacity;
    const url = this.address(params);
    if (url === this.shown) return;
    this.shown = url;
    for (const map of this.maps) this.renew(map);
  }

  hide() {
    this.shown = null;
    for (const map of this.maps) {
      this.layers.get(map)?.remove();
      this.layers.delete(map);
    }
  }

  setOpacity(opacity) {
    this.opacity = opacity;
    for (const layer of this.layers.values()) layer.setOpacity(opacity);
  }

  address(params) {
    return this.api.url('overview/ZXY', params).replace('ZXY', '{z}/{x}/{y}');
  }

  renew(map) {
    const before = this.layers.get(map);
    const layer = this.L.tileLayer(this.shown, {
      pane: 'overview', tileSize: TILE_PX, zoomOffset: -1, minZoom: map.getMinZoom(), maxZoom: map.getMaxZoom(), opacity: this.opacity,
      keepBuffer: 1, updateWhenZooming: false, className: 'wb-overview-tile',
    });
    this.layers.set(map, layer);
    if (before) {
      const drop = () => before.remove();
      layer.once('load', drop);
      setTimeout(drop, 4000);
    }
    layer.addTo(map);
  }
}
