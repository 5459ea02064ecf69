/** Units with their totals: outlines filled by the share that is damaged; the cursor says how many. Clicks go through. */

export class Units {
  constructor(L, map) {
    map.createPane('units').style.zIndex = 460;
    this.layer = L.geoJSON(null, {
      pane: 'units',
      renderer: L.svg({ pane: 'units', padding: 0.5 }),
      style: ({ properties }) => ({
        className: 'wb-unit', color: '#fff', weight: 1.5, fillColor: properties.colour ?? '#8d96a0', fillOpacity: properties.colour ? 0.25 : 0.1,
      }),
      onEachFeature: ({ properties }, path) => path.bindTooltip(textOf(properties.text), { sticky: true }),
    }).addTo(map);
  }

  /** `units`: [{shape: GeoJSON geometry, colour or null, text}]. */
  update({ units = [] }) {
    const text = JSON.stringify(units);
    if (text === this.shown) return;
    this.shown = text;
    this.layer.clearLayers();
    for (const { shape, ...properties } of units) this.layer.addData({ type: 'Feature', geometry: shape, properties });
  }
}

/** Names come from a file: never HTML. */
function textOf(text) {
  const element = document.createElement('span');
  element.textContent = text;
  return element;
}
