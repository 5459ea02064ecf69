/**
 * The area of interest: shown on the map in every step, drawn on it in the first one; in the map step one to count in.
 * A rectangle by two opposite corners, a polygon by its corners; the page is told the ring when it is closed.
 */

import { h } from './dom.js';

const MOVED_PX = 5;
const CLOSE_PX = 12;
const HINTS = {
  rectangle: ['Click one corner of the area', 'Click the opposite corner'],
  polygon: ['Click the first corner of the area', 'Click the next corner', 'Click the next corner', 'Next corner, or Enter to close'],
};

export class AreaDrawing {
  constructor(L, map, stage, tell) {
    Object.assign(this, { L, map, tell, corners: [], mode: null });
    map.createPane('area').style.zIndex = 620;
    map.getPane('area').style.pointerEvents = 'none';
    this.renderer = L.svg({ pane: 'area', padding: 0.5 });
    this.applied = this.layer('wb-area-line');
    this.drawn = this.layer('wb-area-line new');
    this.buttons = ['rectangle', 'polygon'].map((mode) => h('button', {
      type: 'button', 'aria-pressed': 'false', dataset: { draw: mode }, onclick: () => this.begin(mode),
    }, mode === 'rectangle' ? 'Rectangle' : 'Polygon'));
    this.hint = h('span', { class: 'wb-draw-hint', role: 'status' });
    this.cancelButton = h('button', { type: 'button', hidden: true, onclick: () => this.cancel() }, 'Cancel (Esc)');
    this.title = h('b', {}, 'Draw an area');
    this.bar = h('div', { class: 'wb-over wb-draw', role: 'group', 'aria-label': 'Draw the area of interest', hidden: true },
      this.title, ...this.buttons, this.hint, this.cancelButton);
    stage.append(this.bar);
    L.DomEvent.disableClickPropagation(this.bar);
    this.sheet = h('div', { class: 'wb-draw-sheet', hidden: true });
    map.getContainer().append(this.sheet);
    this.sheet.addEventListener('mousedown', (event) => { this.pressed = [event.clientX, event.clientY]; });
    this.sheet.addEventListener('mousemove', (event) => this.hover(event));
    this.sheet.addEventListener('click', (event) => this.click(event));
    this.sheet.addEventListener('dblclick', (event) => event.stopPropagation());
    this.onKey = (event) => this.key(event);
    document.addEventListener('keydown', this.onKey, true);
  }

  layer(className) {
    return this.L.geoJSON(null, { pane: 'area', renderer: this.renderer, interactive: false, style: { className, fill: false } }).addTo(this.map);
  }

  /** `area`: {shape: GeoJSON geometry or null, editable, counts: whether one may count in a drawing, dealt: the newest drawing that the page has dealt with}. */
  update({ area, step }) {
    if (!area) return;
    const text = JSON.stringify(area.shape);
    if (text !== this.shown) {
      this.shown = text;
      this.applied.clearLayers();
      if (area.shape) this.applied.addData(area.shape);
    }
    if (this.step !== step) {
      this.cancel();
      if (this.drawnIn === 'map') this.drawn.clearLayers();
    }
    this.step = step;
    const counts = step === 'map' && area.counts;
    this.title.textContent = counts ? 'Count in an area' : 'Draw an area';
    this.bar.hidden = !(counts || (area.editable && step === 'event'));
    if (this.bar.hidden) this.cancel();
    if (area.dealt && area.dealt === this.nonce) {
      this.nonce = null;
      this.drawn.clearLayers();
    }
  }

  begin(mode) {
    const again = this.mode === mode;
    this.cancel();
    if (again) return;
    this.mode = mode;
    this.sheet.hidden = false;
    this.map.doubleClickZoom.disable();
    this.show();
  }

  cancel() {
    if (!this.mode) return;
    this.stop();
    this.drawn.clearLayers();
    if (this.nonce) this.send(null);
  }

  stop() {
    this.mode = null;
    this.corners = [];
    this.sheet.hidden = true;
    this.map.doubleClickZoom.enable();
    this.show();
  }

  send(ring) {
    this.nonce = ring ? String(Date.now()) : null;
    this.drawnIn = this.step;
    this.tell(ring ? { nonce: this.nonce, ring, step: this.step } : null);
  }

  show() {
    for (const button of this.buttons) button.setAttribute('aria-pressed', String(button.dataset.draw === this.mode));
    this.cancelButton.hidden = !this.mode;
    this.title.hidden = Boolean(this.mode);
    const hints = HINTS[this.mode];
    this.hint.textContent = hints ? hints[Math.min(this.corners.length, hints.length - 1)] : '';
  }

  /** Dragging still pans the map; only a click sets a corner. */
  click(event) {
    event.stopPropagation();
    const [x, y] = this.pressed ?? [event.clientX, event.clientY];
    if (Math.hypot(event.clientX - x, event.clientY - y) > MOVED_PX) return;
    const at = this.map.mouseEventToLatLng(event);
    const first = this.corners[0];
    const closes = this.mode === 'polygon' && this.corners.length > 2
      && (event.detail > 1 || this.map.latLngToContainerPoint(first).distanceTo(this.map.mouseEventToContainerPoint(event)) < CLOSE_PX);
    if (closes) {
      this.close();
      return;
    }
    if (event.detail > 1) return; // the second half of a double click is no corner
    this.corners.push(at);
    if (this.mode === 'rectangle' && this.corners.length === 2) this.close();
    else {
      this.sketch(at);
      this.show();
    }
  }

  hover(event) {
    if (this.mode && this.corners.length) this.sketch(this.map.mouseEventToLatLng(event));
  }

  key(event) {
    if (!this.mode || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      Escape: () => this.cancel(),
      Enter: () => this.mode === 'polygon' && this.corners.length > 2 && this.close(),
      Backspace: () => { this.corners.pop(); this.sketch(this.corners.at(-1)); this.show(); },
    }[event.key];
    if (!act || (event.key === 'Enter' && this.bar.contains(event.target))) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  ring(last = null) {
    const corners = last ? [...this.corners, last] : this.corners;
    if (this.mode !== 'rectangle' || corners.length < 2) return corners.map(({ lng, lat }) => [lng, lat]);
    const [one, two] = [corners[0], corners.at(-1)];
    return [[one.lng, one.lat], [two.lng, one.lat], [two.lng, two.lat], [one.lng, two.lat]];
  }

  sketch(last) {
    this.drawn.clearLayers();
    if (!last) return;
    const ring = this.ring(last);
    this.drawn.addData({ type: 'LineString', coordinates: [...ring, ring[0]] });
  }

  close() {
    const ring = this.ring();
    this.drawn.clearLayers();
    this.drawn.addData({ type: 'Polygon', coordinates: [[...ring, ring[0]]] });
    this.stop();
    this.send(ring);
  }

  destroy() {
    document.removeEventListener('keydown', this.onKey, true);
  }
}
