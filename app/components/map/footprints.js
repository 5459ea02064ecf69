/** The footprints in view: fetched by viewport, drawn on one canvas, coloured by grade or probability. */

const MOVE_DELAY_MS = 120;

export class Footprints {
  constructor(L, map, api, { onSelect, onCount, onError }) {
    this.L = L;
    this.map = map;
    this.api = api;
    this.onSelect = onSelect;
    this.onCount = onCount;
    this.onError = onError;
    this.layers = new Map();
    this.labels = new Map(); // what this page has labelled, newer than any answer on its way
    this.data = null;
    this.mode = 'result';
    this.on = 'pre'; // the date whose imagery the outlines follow
    this.selectedId = null;
    map.createPane('footprints').style.zIndex = 450;
    map.createPane('selected').style.zIndex = 460;
    map.getPane('selected').style.pointerEvents = 'none';
    this.canvas = L.canvas({ pane: 'footprints', padding: 0.3, tolerance: 3 });
    this.group = L.layerGroup([], { pane: 'footprints' }).addTo(map);
    this.selection = L.layerGroup().addTo(map);
    map.on('zoomend', () => this.data && this.restyle());
    map.on('moveend', () => {
      map.getContainer().dataset.bounds = map.getBounds().toBBoxString();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load(), MOVE_DELAY_MS);
    });
  }

  update(data) {
    const key = JSON.stringify([data.run_id, data.run_stamp, data.filter]);
    this.data = data;
    if (key !== this.key) {
      this.key = key;
      this.load(true);
    } else this.restyle();
  }

  /** The map is going away: ask for nothing more. */
  stop() {
    this.data = null;
    clearTimeout(this.timer);
    this.abort?.abort();
  }

  async load(fresh = false) {
    if (!this.data) return;
    this.abort?.abort();
    this.abort = new AbortController();
    const bounds = this.map.getBounds().pad(0.25);
    const bbox = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()].map((v) => v.toFixed(6));
    try {
      const answer = await this.api.get(
        'footprints',
        { bbox: bbox.join(','), run: this.data.run_id, on: this.on, ...this.data.filter },
        this.abort.signal,
      );
      this.draw(answer, fresh);
      this.onCount(answer);
    } catch (error) {
      if (error.name !== 'AbortError') this.onError(`Footprints could not be loaded: ${error.message}`);
    }
  }

  draw(answer, fresh) {
    const wanted = new Set(answer.features.map((feature) => feature.properties.id));
    for (const [id, layer] of this.layers) {
      if (fresh || !wanted.has(id)) {
        this.group.removeLayer(layer);
        this.layers.delete(id);
      }
    }
    for (const feature of answer.features) {
      const { id } = feature.properties;
      if (this.labels.has(id)) {
        if (this.labels.get(id).revision <= answer.revision) this.labels.delete(id);
        else feature.properties.label = this.labels.get(id).value;
      }
      const known = this.layers.get(id);
      if (known) {
        known.feature.properties = feature.properties;
        known.setStyle(this.style(feature.properties));
        continue;
      }
      const layer = this.L.GeoJSON.geometryToLayer(feature, {
        pointToLayer: (_, position) => this.L.circleMarker(position, { radius: 3 }),
      });
      layer.feature = feature;
      layer.options.renderer = this.canvas;
      layer.options.pane = 'footprints';
      layer.setStyle(this.style(feature.properties));
      layer.on('click', (event) => {
        this.L.DomEvent.stopPropagation(event);
        this.onSelect(id);
      });
      layer.addTo(this.group);
      this.layers.set(id, layer);
    }
    this.map.getContainer().dataset.footprints = String(this.layers.size);
    this.map.getContainer().dataset.revision = String(answer.revision);
  }

  restyle() {
    for (const layer of this.layers.values()) layer.setStyle(this.style(layer.feature.properties));
  }

  /** Stand where the imagery of this date shows the buildings: scenes may be shifted against each other. */
  follow(role) {
    if (role === this.on) return;
    this.on = role;
    this.load(true);
    if (this.selectedId) this.select(this.selectedId, this.selectedPlaces, { blind: this.blind });
  }

  setMode(mode) {
    this.mode = mode;
    this.restyle();
  }

  /** Recolour one building at once; the server's answer confirms it later with a revision. */
  setLabel(id, value, revision = Infinity) {
    this.labels.set(id, { value, revision });
    const layer = this.layers.get(id);
    if (!layer) return;
    layer.feature.properties.label = value;
    layer.setStyle(this.style(layer.feature.properties));
  }

  forgetLabel(id) {
    this.labels.delete(id);
  }

  colourOf(properties) {
    const { palette, ramp } = this.data;
    if (properties.label && (this.mode !== 'probability' || !palette[properties.label]?.grade)) {
      return palette[properties.label]?.colour ?? palette.unclear.colour;
    }
    if (!properties.assessed) return null;
    if (this.mode === 'labels') return undefined;
    if (this.mode === 'probability') {
      return properties.p === null ? undefined : ramp[Math.min(ramp.length - 1, Math.floor(properties.p * ramp.length))];
    }
    return properties.cls ? palette[properties.cls]?.colour : undefined;
  }

  style(properties) {
    // A building to be judged unseen shows neither the model's class nor anybody's label.
    if (this.blind && properties.id === this.selectedId) return line('#ffffff', 1.4, 0.95, null, '#ffffff', 0.08);
    const colour = this.colourOf(properties);
    const labelled = Boolean(properties.label);
    const scale = this.strokeScale();
    if (colour === null) return line('#c9d0d8', 0.9 * scale, 0.65, '3 3', '#8d96a0', 0.15);
    if (colour === undefined) return line('#ffffff', 1.4 * scale, 0.95, null, '#ffffff', 0.08);
    if (labelled) return line('#10151b', 2.2 * scale, 1, null, colour, 0.68);
    return line(colour, 1.6 * scale, 1, null, colour, 0.42);
  }

  /** Thinner outlines when zoomed out, where a roof is only a few pixels wide. */
  strokeScale() {
    const above = this.map.getZoom() - (this.data.native_zoom - 3);
    return Math.min(1, Math.max(0.35, 0.35 + 0.25 * above));
  }

  /** Ring the selected building, wherever its geometry comes from (it may lie outside the view). */
  select(id, places, { blind = false } = {}) {
    const passed = this.layers.get(this.selectedId);
    this.selectedId = id;
    this.selectedPlaces = places;
    this.blind = blind;
    for (const layer of [passed, this.layers.get(id)]) layer?.setStyle(this.style(layer.feature.properties));
    const geometry = places?.[this.on];
    this.selection.clearLayers();
    this.map.getContainer().dataset.selected = id ?? '';
    if (!geometry) return;
    for (const [colour, weight] of [['#0b1118', 6], ['#19e3ff', 3]]) {
      this.selection.addLayer(
        this.L.geoJSON(geometry, { pane: 'selected', interactive: false, style: { color: colour, weight, fill: false } }),
      );
    }
  }
}

const line = (color, weight, opacity, dashArray, fillColor, fillOpacity) => ({ color, weight, opacity, dashArray, fillColor, fillOpacity });
