/** The workbench: map, selected building and queue. Panning, zooming and labelling never wait for the page's script. */

import './leaflet.js';
import { Api, h } from './dom.js';
import { Footprints } from './footprints.js';
import { GRADE_KEYS, Inspector, OTHER_KEYS } from './inspector.js';
import { Legend } from './legend.js';
import { Swipe } from './swipe.js';

const L = globalThis.leaflet;
const KEYS = Object.fromEntries([...GRADE_KEYS, ...OTHER_KEYS].map(([key, value]) => [key.toLowerCase(), value]));
const QUEUE_SIZE = 12;
const PRELOAD = 3;
const TELL_PAGE_MS = 350;
const FOLLOW_MS = 90;
const benches = new WeakMap();

export function mount({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector('.wb');
  let bench = benches.get(root);
  if (!bench) {
    bench = new Workbench(root, { ...data, step: null });
    document.activeElement?.blur?.(); // the event was just chosen in a list: the keys now belong to labelling
    benches.set(root, bench);
  }
  bench.setStateValue = setStateValue;
  bench.update(data);
  // The clean-up runs on every update too, and before the page takes the element out.
  return () => setTimeout(() => {
    if (!root.isConnected) bench.destroy();
  });
}

class Workbench {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.api = new Api(data.event);
    this.stage = root.querySelector('.wb-stage');
    this.queue = [];
    this.visited = [];
    this.undoStack = [];
    this.done = 0;
    this.selected = null;
    this.buildMap();
    this.inspector = new Inspector(root.querySelector('.wb-inspector'), this.api, {
      onLabel: (value) => this.label(value),
      onUndo: () => this.undo(),
      onNext: () => this.next(),
      onPrevious: () => this.previous(),
      onZoom: () => this.selected && this.centre(this.selected, true),
      onClose: () => this.deselect(),
    });
    this.onKey = (event) => this.key(event);
    document.addEventListener('keydown', this.onKey);
    this.observer = new ResizeObserver(() => this.gone || this.map.invalidateSize({ animate: false }));
    this.observer.observe(this.stage);
  }

  buildMap() {
    const { data } = this;
    this.map = L.map(this.stage.querySelector('.wb-map'), {
      preferCanvas: true, minZoom: data.min_zoom, maxZoom: data.max_zoom, zoomControl: false, attributionControl: false,
      keyboard: false, zoomSnap: 0.25, wheelPxPerZoomLevel: 100,
    });
    this.storageKey = `damage_ssl:view:${data.event}`;
    const kept = this.keptView();
    if (kept) this.map.setView(kept.centre, kept.zoom);
    else this.fit();
    this.map.on('dragend zoomend', () => this.keepView());
    L.control.zoom({ position: 'topright' }).addTo(this.map);
    L.control.scale({ position: 'bottomright', imperial: false, maxWidth: 120 }).addTo(this.map);
    this.swipe = new Swipe(L, this.map, this.stage, this.api, data);
    this.footprints = new Footprints(L, this.map, this.api, {
      onSelect: (id) => this.select(id, { drawn: 'map' }),
      onCount: (answer) => this.showCount(answer),
      onError: (message) => this.toast(message, true),
    });
    this.legend = new Legend(this.stage.querySelector('.wb-legend'), (mode) => this.footprints.setMode(mode));
    for (const button of this.stage.querySelectorAll('[data-view-mode]')) {
      button.addEventListener('click', () => this.setView(button.dataset.viewMode));
    }
    this.stage.querySelector('.wb-fit').addEventListener('click', () => this.fit());
    L.DomEvent.disableClickPropagation(this.stage.querySelector('.wb-legend'));
  }

  update(data) {
    const before = this.data;
    this.data = data;
    for (const role of ['pre', 'post']) {
      this.stage.querySelector(`.wb-chip.${role} span`).textContent = data.dates[role].text;
    }
    const model = this.stage.querySelector('.wb-model-name');
    model.textContent = data.model.text;
    model.hidden = !data.model.text;
    model.title = data.model.caution;
    model.classList.toggle('caution', Boolean(data.model.caution));
    this.legend.update(data);
    this.inspector.update(data);
    this.footprints.update(data);
    if (before !== data && before.run_id !== data.run_id) {
      this.queue = [];
      if (this.selected) this.select(this.selected.id, { drawn: this.selected.drawn, keepView: true });
    }
    this.showInspector();
    if (before.step === null && !this.keptView()) {
      this.map.invalidateSize({ animate: false });
      this.fit();
    }
    if (data.step === 'label' && before.step !== 'label' && !this.selected) this.next();
    this.root.dataset.ready = '1';
  }

  destroy() {
    if (this.gone) return;
    this.gone = true;
    clearTimeout(this.moving);
    clearTimeout(this.telling);
    this.footprints.stop();
    document.removeEventListener('keydown', this.onKey);
    this.observer.disconnect();
    this.map.remove();
    benches.delete(this.root);
  }

  key(event) {
    // A bench whose event was left behind must not answer for it.
    if (!this.root.isConnected) {
      this.destroy();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const key = event.key.toLowerCase();
    const action =
      KEYS[key] && this.selected ? () => this.label(KEYS[key])
      : key === 'z' ? () => this.undo()
      : key === 'escape' ? () => this.deselect()
      : key === 'w' ? () => this.inspector.toggleView()
      : key === 'arrowright' ? () => this.next()
      : key === 'arrowleft' ? () => this.previous()
      : null;
    if (!action || isWidget(event.target, key)) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  async select(id, { drawn, probability = null, keepView = false, remember = true }) {
    this.wanted = id;
    let detail;
    try {
      detail = await this.inspector.fetch(id, this.data.run_id);
    } catch (error) {
      this.toast(`Building ${id}: ${error.message}`, true);
      return;
    }
    if (this.gone || this.wanted !== id) return;
    if (remember && this.selected && this.selected.id !== id) this.visited.push(this.selected);
    this.selected = { id, drawn, probability, detail };
    this.inspector.show(detail);
    this.showInspector();
    this.footprints.select(id, detail.geometry);
    clearTimeout(this.moving); // fast keys: the map follows when the hand rests
    if (!keepView && drawn !== 'map') this.moving = setTimeout(() => this.centre(this.selected), FOLLOW_MS);
    this.setStateValue('selected', id);
  }

  deselect() {
    this.wanted = null;
    this.selected = null;
    this.inspector.hide();
    this.footprints.select(null, null);
    this.showInspector();
    this.setStateValue('selected', null);
  }

  /** Outside the labelling step the map takes the whole width until a building is selected. */
  showInspector() {
    this.root.classList.toggle('narrow', !this.selected && this.data.step !== 'label');
  }

  centre({ detail }, zoomIn = false) {
    const zoom = this.map.getZoom();
    const close = Math.min(this.data.max_zoom, this.data.native_zoom);
    const inner = this.map.getBounds().pad(-0.2);
    const position = L.latLng(detail.lat, detail.lon);
    if (zoomIn || zoom < close - 1) this.map.setView(position, close, { animate: false });
    else if (!inner.contains(position)) this.map.setView(position, zoom, { animate: false });
  }

  /** Take the next building of the queue; ask for more in good time. */
  async next() {
    this.queue = this.queue.filter((item) => item.id !== this.selected?.id && !this.footprints.labels.has(item.id));
    if (this.queue.length === 0) await this.refill();
    const item = this.queue.shift();
    if (!item) {
      this.toast('The queue is empty: every assessable building has an answer.');
      return;
    }
    const shown = this.select(item.id, { drawn: item.drawn, probability: item.probability });
    for (const coming of this.queue.slice(0, PRELOAD)) this.inspector.preload(coming.detail);
    if (this.queue.length <= PRELOAD) this.refill();
    await shown;
  }

  refill() {
    this.refilling ??= this.fetchQueue().finally(() => { this.refilling = null; });
    return this.refilling;
  }

  async fetchQueue() {
    try {
      const { items } = await this.api.get('queue', { n: QUEUE_SIZE, run: this.data.run_id });
      const known = new Set([...this.queue.map((item) => item.id), this.selected?.id]);
      const fresh = items.filter((item) => !known.has(item.id) && !this.footprints.labels.has(item.id));
      for (const item of fresh) this.inspector.learn(item.detail, this.data.run_id);
      this.queue.push(...fresh);
      for (const coming of this.queue.slice(0, PRELOAD)) this.inspector.preload(coming.detail);
    } catch (error) {
      this.toast(`The queue could not be read: ${error.message}`, true);
    }
  }

  previous() {
    const item = this.visited.pop();
    if (item) this.select(item.id, { drawn: item.drawn, probability: item.probability, remember: false });
  }

  label(value) {
    if (!this.selected) return;
    const { id, drawn, probability, detail } = this.selected;
    const before = detail.label;
    this.undoStack.push({ id, drawn, probability, detail, before });
    this.apply({ id, detail, value, before, drawn, probability });
    this.done += 1;
    this.flash(value);
    this.next();
  }

  undo() {
    const last = this.undoStack.pop();
    if (!last) {
      this.toast('Nothing to undo.');
      return;
    }
    this.done -= 1;
    this.apply({ ...last, value: last.before?.value ?? null, before: last.detail.label });
    this.select(last.id, { drawn: last.drawn, probability: last.probability, remember: false });
  }

  /** Show a label at once, write it, and take it back if it could not be written. */
  apply({ id, detail, value, before, drawn, probability }) {
    const { labeller } = this.data;
    detail.label = value ? { value, labeller } : null;
    this.footprints.setLabel(id, value);
    this.inspector.setTally(this.done > 0 ? `${this.done} labelled in this session` : '');
    this.api.post('labels', { building_id: id, value, labeller, drawn, inclusion_probability: probability }).then(
      ({ revision }) => {
        this.footprints.setLabel(id, value, revision);
        this.tellPage(revision);
      },
      (error) => {
        detail.label = before;
        this.footprints.setLabel(id, before?.value ?? null);
        this.footprints.forgetLabel(id);
        if (this.selected?.id === id) this.inspector.show(detail);
        this.toast(`Label not saved: ${error.message}`, true);
      },
    );
  }

  tellPage(revision) {
    this.root.dataset.saved = String(revision);
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.setStateValue('revision', revision), TELL_PAGE_MS);
  }

  setView(mode) {
    this.swipe.setMode(mode);
    this.footprints.follow(mode === 'post' ? 'post' : 'pre');
    for (const button of this.stage.querySelectorAll('[data-view-mode]')) {
      button.setAttribute('aria-pressed', String(button.dataset.viewMode === mode));
    }
  }

  fit() {
    const [west, south, east, north] = this.data.bounds;
    this.map.fitBounds([[south, west], [north, east]], { padding: [12, 12], animate: false });
  }

  keptView() {
    try {
      return JSON.parse(sessionStorage.getItem(this.storageKey));
    } catch {
      return null;
    }
  }

  keepView() {
    const { lat, lng } = this.map.getCenter();
    try {
      sessionStorage.setItem(this.storageKey, JSON.stringify({ centre: [lat, lng], zoom: this.map.getZoom() }));
    } catch {
      /* private mode: the view is simply not kept */
    }
  }

  showCount({ shown, matched, total }) {
    const badge = this.stage.querySelector('.wb-count');
    const texts = [];
    if (matched < total) texts.push(`Filter: ${matched.toLocaleString('en')} of ${total.toLocaleString('en')} buildings`);
    if (shown.capped) texts.push(`${shown.drawn.toLocaleString('en')} of ${shown.in_view.toLocaleString('en')} in view drawn as dots · zoom in for footprints`);
    badge.textContent = texts.join(' · ');
    badge.hidden = texts.length === 0;
    this.stage.dataset.matched = String(matched);
  }

  flash(value) {
    const button = this.inspector.buttons.get(value);
    button.classList.remove('flash');
    button.getBoundingClientRect(); // restarts the animation
    button.classList.add('flash');
  }

  toast(message, bad = false) {
    const toast = h('div', { class: `wb-toast${bad ? ' bad' : ''}`, role: 'status' }, message);
    this.stage.querySelector('.wb-toasts').replaceChildren(toast);
    setTimeout(() => toast.remove(), bad ? 9000 : 3500);
  }
}

function isTyping(target) {
  const tag = target.tagName;
  return target.isContentEditable || tag === 'TEXTAREA' || tag === 'SELECT'
    || (tag === 'INPUT' && !['radio', 'checkbox', 'button', 'range'].includes(target.type));
}

/** Arrow keys belong to sliders, radio groups and tabs while these have the focus. */
function isWidget(target, key) {
  return key.startsWith('arrow') && Boolean(target.closest?.('[role="slider"],[role="radiogroup"],[role="tablist"],[role="listbox"],input'));
}
