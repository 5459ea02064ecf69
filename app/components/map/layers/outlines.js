/**
 * One canvas with the outlines where one date's imagery shows them. Drawn anew at the end of a move, never during one;
 * the second date a frame after the first, because both in one would hold up the page for over a tenth of a second.
 */

const SELECTED = [['#0b1118', 6], ['#19e3ff', 3]];
const CHOSEN = [['#0b1118', 5], ['#19e3ff', 2.4]];
const HIDDEN = '#d5dbe1';
const SMALL_PX = 14;

/** A Leaflet layer that paints what `store` holds for `role`; `visible()` says whether that side is looked at. */
export function outlineLayer(L, store, role, pane, visible) {
  const isSecond = role === 'post';
  const Outlines = L.Renderer.extend({
    options: { pane, padding: 0.25 },

    _initContainer() {
      this._container = document.createElement('canvas');
      this._container.setAttribute('aria-hidden', 'true');
      this._container.style.pointerEvents = 'none';
      this._context = this._container.getContext('2d');
    },

    _destroyContainer() {
      this._container.remove();
      delete this._container;
      delete this._context;
    },

    /** A view set anew, without a movement: the old picture would stand in the wrong place until the next one. */
    _reset() {
      this.place();
      this._updateTransform(this._center, this._zoom);
    },

    _update() {
      if (isSecond && this._zoom === this._map.getZoom()) this.soon('place');
      else this.place();
    },

    /** Paint where the map is now. */
    place() {
      if (!this._map || (this._map._animatingZoom && this._bounds)) return;
      L.Renderer.prototype._update.call(this);
      L.DomUtil.setPosition(this._container, this._bounds.min);
      this.paint();
    },

    _updatePaths() {},

    /** What is shown has changed, often several things at once: painted once. */
    repaint() {
      this.soon('paint');
    },

    /** In the next frame, or the one after; `place` paints too. */
    soon(work) {
      const waits = Boolean(this._due);
      if (this._due !== 'place') this._due = work;
      if (waits) return;
      const now = () => {
        const due = this._due;
        this._due = null;
        this[due]();
      };
      requestAnimationFrame(isSecond ? () => requestAnimationFrame(now) : now);
    },

    paint() {
      if (!this._map || !this._bounds) return;
      const canvas = this._container;
      const size = this._bounds.getSize();
      const dots = L.Browser.retina ? 2 : 1;
      if (canvas.width !== size.x * dots || canvas.height !== size.y * dots) {
        canvas.width = size.x * dots;
        canvas.height = size.y * dots;
        canvas.style.width = `${size.x}px`;
        canvas.style.height = `${size.y}px`;
      } else {
        this._context.setTransform(1, 0, 0, 1, 0, 0);
        this._context.clearRect(0, 0, canvas.width, canvas.height);
      }
      if (!visible() || !store.data) return;
      this._context.setTransform(dots, 0, 0, dots, 0, 0);
      const origin = this._map.getPixelOrigin().add(this._bounds.min);
      drawAll(this._context, store, role, { scale: 256 * 2 ** this._zoom, origin, size, stroke: store.strokeScale(this._zoom) });
    },
  });
  return new Outlines();
}

function drawAll(context, store, role, frame) {
  const { set } = store;
  const inFrame = framed(set, role, frame);
  const byStyle = new Map();
  for (const row of inFrame) {
    const code = store.codeOf(row);
    if (!byStyle.has(code)) byStyle.set(code, []);
    byStyle.get(code).push(row);
  }
  context.lineJoin = 'round';
  const codes = [...byStyle.keys()].sort((a, b) => store.styles[a].rank - store.styles[b].rank);
  for (const code of codes) {
    const style = store.styles[code];
    context.beginPath();
    for (const row of byStyle.get(code)) trace(context, set, row, role, frame);
    context.globalAlpha = style.fill_opacity * store.fillOpacity;
    context.fillStyle = style.fill;
    context.fill('evenodd');
    context.globalAlpha = style.line_opacity;
    context.strokeStyle = style.line;
    context.lineWidth = style.width * frame.stroke;
    context.setLineDash(style.dashed ? [3, 3] : []);
    context.stroke();
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
  if (store.chosen.size) {
    context.beginPath();
    for (const row of inFrame) if (store.chosen.has(set.ids[row])) trace(context, set, row, role, frame);
    ring(context, CHOSEN);
  }
  if (store.blind && store.capped && store.selectedPlaces) cover(context, store.selectedPlaces[store.views.main], frame);
  const selected = store.selectedPlaces?.[role];
  if (selected) {
    context.beginPath();
    if (traceGeometry(context, selected, frame) < SMALL_PX) circle(context, selected, frame);
    ring(context, SELECTED);
  }
}

/** The overview tiles show a building's colour also while it is to be judged unseen: it is painted over. */
function cover(context, geometry, frame) {
  context.beginPath();
  if (traceGeometry(context, geometry, frame) < SMALL_PX) circle(context, geometry, frame);
  context.fillStyle = HIDDEN;
  context.fill();
  context.strokeStyle = HIDDEN;
  context.lineWidth = 3;
  context.stroke();
}

function ring(context, strokes) {
  for (const [colour, width] of strokes) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }
}

/** Rows whose box touches the frame. */
function framed(set, role, { scale, origin, size }) {
  const rows = [];
  const { box } = set;
  const move = set.moves[role];
  const west = origin.x / scale;
  const north = origin.y / scale;
  const east = (origin.x + size.x) / scale;
  const south = (origin.y + size.y) / scale;
  for (let row = 0; row < set.count; row += 1) {
    const dx = move ? move[2 * row] : 0;
    const dy = move ? move[2 * row + 1] : 0;
    if (box[4 * row] + dx <= east && box[4 * row + 2] + dx >= west && box[4 * row + 1] + dy <= south && box[4 * row + 3] + dy >= north) rows.push(row);
  }
  return rows;
}

function trace(context, set, row, role, { scale, origin }) {
  const { x, y, ringAt, firstRing } = set;
  const move = set.moves[role];
  const left = origin.x - (move ? move[2 * row] * scale : 0);
  const top = origin.y - (move ? move[2 * row + 1] * scale : 0);
  for (let ringNumber = firstRing[row]; ringNumber < firstRing[row + 1]; ringNumber += 1) {
    const end = ringAt[ringNumber + 1];
    let point = ringAt[ringNumber];
    context.moveTo(x[point] * scale - left, y[point] * scale - top);
    for (point += 1; point < end; point += 1) context.lineTo(x[point] * scale - left, y[point] * scale - top);
    context.closePath();
  }
}

/** The same for one GeoJSON geometry; gives its longer side in pixels. */
function traceGeometry(context, geometry, { scale, origin }) {
  let [west, north, east, south] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const points of ringsOf(geometry)) {
    points.forEach(([lon, lat], place) => {
      const x = mercatorX(lon) * scale - origin.x;
      const y = mercatorY(lat) * scale - origin.y;
      [west, north, east, south] = [Math.min(west, x), Math.min(north, y), Math.max(east, x), Math.max(south, y)];
      if (place) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.closePath();
  }
  return Math.max(east - west, south - north);
}

/** Far out a ring around the place: the outline itself would be a dot. */
function circle(context, geometry, { scale, origin }) {
  const [[lon, lat]] = ringsOf(geometry)[0];
  const x = mercatorX(lon) * scale - origin.x;
  const y = mercatorY(lat) * scale - origin.y;
  context.moveTo(x + 10, y);
  context.arc(x, y, 10, 0, 2 * Math.PI);
}

const ringsOf = ({ type, coordinates }) => (type === 'Polygon' ? coordinates : coordinates.flat());

/** Web mercator as shares 0..1 of the square, from its upper left. */
export const mercatorX = (lon) => (lon + 180) / 360;

export function mercatorY(lat) {
  const angle = (lat * Math.PI) / 180;
  return (1 - Math.asinh(Math.tan(angle)) / Math.PI) / 2;
}
