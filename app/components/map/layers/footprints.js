/** The footprints in view: outlines fetched by viewport and drawn on a canvas a date, or tiles where there are too many. */

import { FootprintTiles } from './footprint_tiles.js';
import { mercatorX, mercatorY, outlineLayer } from './outlines.js';

const MOVE_DELAY_MS = 120;
const DEGREE = 1e-7; // the unit of coordinates in answers
const REACH_PX = 5;
const NONE = decode({ id: [], label: [], codes: { result: [], probability: [], labels: [] }, parts: [], rings: [], origin: [0, 0], xy: [], moves: {} });

export class Footprints {
  constructor(L, map, api, views, { onSelect, onCount, onError }) {
    this.L = L;
    this.map = map;
    this.api = api;
    this.views = views;
    this.onSelect = onSelect;
    this.onCount = onCount;
    this.onError = onError;
    this.set = NONE;
    this.labels = new Map(); // what this page has labelled, newer than any answer on its way
    this.chosen = new Set();
    this.data = null;
    this.mode = 'result';
    this.selectedId = null;
    this.fillOpacity = 1;
    this.faces = [];
    this.outlinesFrom = Infinity; // the zoom from which views held few enough to be drawn here, as far as is known
    this.overview = new FootprintTiles(L, api);
    this.addFace(map, 'pre', 'outlines-pre');
    this.addFace(map, 'post', 'outlines-post');
    this.overview.addMap(map);
    map.on('zoomend', () => {
      if (this.near) this.overview.hide(); // its tiles would only keep the outlines waiting
    });
    map.on('moveend', () => {
      map.getContainer().dataset.bounds = map.getBounds().toBBoxString();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load(), MOVE_DELAY_MS);
    });
    views.onChange = () => this.followViews();
  }

  /** Draw, and take clicks, on a map. */
  addFace(map, role, pane) {
    const layer = outlineLayer(this.L, this, role, pane, () => this.views.shows(role));
    this.faces.push({ map, role, layer });
    layer.addTo(map);
    if (this.faces.some((face) => face.map === map && face.layer !== layer)) return;
    map.on('click', (event) => this.click(event, map));
    map.on('mousemove', (event) => this.hover(event, map));
    map.on('mouseout', () => this.tip?.remove());
  }

  update(data) {
    const key = JSON.stringify([data.run_id, data.run_stamp, data.filter, data.stamp]);
    this.data = data;
    this.styles = data.styles.styles;
    if (key !== this.key) {
      this.key = key;
      this.load(true);
    } else this.repaint();
  }

  /** The map is going away: ask for nothing more. */
  stop() {
    this.data = null;
    clearTimeout(this.timer);
    clearTimeout(this.retiling);
    this.abort?.abort();
  }

  query() {
    return { run: this.data.run_id, on: this.views.main, ...this.data.filter };
  }

  async load() {
    if (!this.data) return;
    this.abort?.abort();
    this.abort = new AbortController();
    const zoom = this.map.getZoom();
    const bounds = this.map.getBounds().pad(0.25);
    const bbox = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()].map((v) => v.toFixed(6));
    try {
      const answer = await this.api.get('footprints', { bbox: bbox.join(','), ...this.query() }, this.abort.signal);
      this.take(answer, zoom);
      this.onCount(answer);
    } catch (error) {
      if (error.name !== 'AbortError') this.onError(`Footprints could not be loaded: ${error.message}`);
    }
  }

  take(answer, zoom) {
    const { capped } = answer.shown;
    this.outlinesFrom = capped ? Math.max(this.outlinesFrom, zoom + 0.25) : Math.min(this.outlinesFrom, zoom);
    this.set = capped ? NONE : decode(answer);
    this.capped = capped;
    this.version = answer.version;
    for (const [id, own] of this.labels) {
      if (own.revision <= answer.revision) this.labels.delete(id);
      else if (this.set.rowOf.has(id)) this.set.label[this.set.rowOf.get(id)] = this.labelCode(own.value);
    }
    this.showOverview();
    this.repaint();
    const { dataset } = this.map.getContainer();
    dataset.footprints = String(this.set.count);
    dataset.drawnAs = capped ? 'tiles' : 'outlines';
    dataset.revision = String(answer.revision);
  }

  /** So near the view has held outlines before. */
  get near() {
    return this.map.getZoom() >= this.outlinesFrom;
  }

  showOverview() {
    if (!this.data || this.capped === undefined) return;
    if (this.capped && !this.near) this.overview.show({ ...this.query(), mode: this.mode, v: this.version }, this.fillOpacity);
    else this.overview.hide();
  }

  repaint() {
    for (const { layer } of this.faces) layer.repaint();
  }

  /** Another imagery is looked at: outlines stand where that shows the buildings. */
  followViews() {
    this.repaint();
    this.showOverview();
  }

  setMode(mode) {
    this.mode = mode;
    this.showOverview();
    this.repaint();
  }

  setFillOpacity(share) {
    this.fillOpacity = share;
    this.overview.setOpacity(share);
    this.repaint();
  }

  /** Recolour one building at once; the server's answer confirms it later with a revision. */
  setLabel(id, value, revision = Infinity) {
    this.setLabels([{ id, value }], revision);
  }

  setLabels(items, revision = Infinity) {
    for (const { id, value } of items) {
      this.labels.set(id, { value, revision });
      const row = this.set.rowOf.get(id);
      if (row !== undefined) this.set.label[row] = this.labelCode(value);
    }
    this.repaint();
    if (!this.capped || revision === Infinity) return;
    clearTimeout(this.retiling); // the tiles change only once the server knows of it
    this.retiling = setTimeout(() => this.load(), MOVE_DELAY_MS);
  }

  /** What the tiles show now has another version: known from the answer to a label, without a question of its own. */
  retile(version) {
    clearTimeout(this.retiling);
    this.version = version;
    this.showOverview();
  }

  forgetLabel(id) {
    this.labels.delete(id);
  }

  labelCode(value) {
    return this.data.styles.labels.indexOf(value);
  }

  /** The index of a building's style, looked up in what the page was told (`legend_for_browser`). */
  codeOf(row) {
    const { labelled, nothing_said: nothingSaid } = this.data.styles;
    // A building to be judged unseen shows neither the model's class nor anybody's label.
    if (this.blind && this.set.ids[row] === this.selectedId) return nothingSaid;
    const [label, code] = [this.set.label[row], this.set.codes[this.mode][row]];
    return label < 0 ? code : labelled[this.mode][label][code];
  }

  /** Thinner outlines when zoomed out, where a roof is only a few pixels wide. */
  strokeScale(zoom) {
    const above = zoom - (this.data.native_zoom - 3);
    return Math.min(1, Math.max(0.35, 0.35 + 0.25 * above));
  }

  /** Ring the selected building, wherever its geometry comes from (it may lie outside the view). */
  select(id, places, { blind = false } = {}) {
    this.selectedId = id;
    this.selectedPlaces = places;
    this.blind = blind;
    this.map.getContainer().dataset.selected = id ?? '';
    this.repaint();
  }

  choose(ids) {
    this.chosen = new Set(ids);
    this.repaint();
  }

  click({ latlng, containerPoint }, map) {
    this.at(latlng, this.views.roleAt(containerPoint, map), map).then(
      ({ id }) => id && this.onSelect(id),
      (error) => this.onError(`The building could not be found: ${error.message}`),
    );
  }

  /** The building at a position, as one date's imagery shows it, and its label; a null id for none. */
  async at(latlng, role, map = this.map) {
    const reach = (REACH_PX * 360) / (256 * 2 ** map.getZoom());
    if (!this.capped) {
      const row = this.rowAt(latlng, role, reach / 360);
      return row < 0 ? { id: null } : { id: this.set.ids[row], label: this.data.styles.labels[this.set.label[row]] ?? null };
    }
    return this.api.get('at', { ...this.query(), on: role, lon: latlng.lng.toFixed(7), lat: latlng.lat.toFixed(7), reach });
  }

  hover({ latlng, containerPoint }, map) {
    const row = this.capped || map.dragging?.moving?.() ? -1 : this.rowAt(latlng, this.views.roleAt(containerPoint, map), 0);
    map.getContainer().classList.toggle('on-building', row >= 0);
    this.tip ??= this.L.tooltip({ className: 'wb-hover', direction: 'top', offset: [0, -10] });
    if (row < 0) this.tip.remove();
    else this.tip.setLatLng(latlng).setContent(this.saidOf(row)).addTo(map);
  }

  /** A building under the cursor: its id, and its label; nothing of what must not be seen before the answer. */
  saidOf(row) {
    const element = document.createElement('span');
    const label = this.data.styles.labels[this.set.label[row]];
    const hidden = this.blind && this.set.ids[row] === this.selectedId;
    element.textContent = [this.set.ids[row], hidden ? '' : this.data.palette[label]?.name ?? 'not labelled'].filter(Boolean).join(' · ');
    return element;
  }

  rowAt({ lng, lat }, role, reach) {
    const { set } = this;
    const x = mercatorX(lng);
    const y = mercatorY(lat);
    let best = -1;
    let nearest = Infinity;
    for (let row = 0; row < set.count; row += 1) {
      const move = set.moves[role];
      const px = x - (move ? move[2 * row] : 0);
      const py = y - (move ? move[2 * row + 1] : 0);
      const [west, north, east, south] = [set.box[4 * row], set.box[4 * row + 1], set.box[4 * row + 2], set.box[4 * row + 3]];
      if (px < west - reach || px > east + reach || py < north - reach || py > south + reach) continue;
      // A building that covers the point goes before one beside it, a smaller one before a larger.
      const size = (east - west) * (south - north);
      const distance = covers(set, row, px, py) ? size - 1 : Math.hypot(px - (west + east) / 2, py - (north + south) / 2);
      if (distance < nearest && (reach > 0 || distance < 0)) [best, nearest] = [row, distance];
    }
    return best;
  }
}

function covers({ x, y, ringAt, firstRing }, row, px, py) {
  let inside = false;
  for (let ring = firstRing[row]; ring < firstRing[row + 1]; ring += 1) {
    for (let here = ringAt[ring], before = ringAt[ring + 1] - 1; here < ringAt[ring + 1]; before = here, here += 1) {
      if (y[here] > py !== y[before] > py && px < ((x[before] - x[here]) * (py - y[here])) / (y[before] - y[here]) + x[here]) inside = !inside;
    }
  }
  return inside;
}

/** An answer of `app/state/viewport.py` as flat arrays in web mercator shares. */
function decode({ id, label, codes, parts, rings, origin, xy, moves }) {
  const points = xy.length / 2;
  const [x, y] = [new Float64Array(points), new Float64Array(points)];
  let [lon, lat] = origin.map((value) => Math.round(value / DEGREE));
  for (let point = 0; point < points; point += 1) {
    lon += xy[2 * point];
    lat += xy[2 * point + 1];
    x[point] = mercatorX(lon * DEGREE);
    y[point] = mercatorY(lat * DEGREE);
  }
  const ringAt = ends(rings);
  const firstRing = ends(parts);
  const box = new Float64Array(4 * id.length);
  for (let row = 0; row < id.length; row += 1) {
    let [west, north, east, south] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let point = ringAt[firstRing[row]]; point < ringAt[firstRing[row + 1]]; point += 1) {
      if (x[point] < west) west = x[point];
      if (x[point] > east) east = x[point];
      if (y[point] < north) north = y[point];
      if (y[point] > south) south = y[point];
    }
    box.set([west, north, east, south], 4 * row);
  }
  const squeeze = Math.cos((origin[1] * Math.PI) / 180);
  const steps = (role) => moves[role] && Float64Array.from(moves[role], (step, place) => (step * DEGREE) / (place % 2 ? -360 * squeeze : 360));
  return {
    count: id.length,
    ids: id,
    rowOf: new Map(id.map((each, row) => [each, row])),
    label: Int16Array.from(label),
    codes,
    x, y, ringAt, firstRing, box,
    moves: { pre: steps('pre'), post: steps('post') },
  };
}

function ends(counts) {
  const places = new Uint32Array(counts.length + 1);
  counts.forEach((count, place) => { places[place + 1] = places[place] + count; });
  return places;
}
