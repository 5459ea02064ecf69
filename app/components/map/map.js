/** The workbench: map, selected building and queue. Panning, zooming and labelling never wait for the page's script. */

import './leaflet.js';
import { Api, h } from './dom.js';
import { AreaDrawing } from './area.js';
import { BoxSelection } from './box_selection.js';
import { Controls } from './controls.js';
import { Footprints } from './footprints.js';
import { History } from './history.js';
import { GRADE_KEYS, Inspector, OTHER_KEYS } from './inspector.js';
import { Guide } from './guide.js';
import { Labelling } from './labelling.js';
import { Legend } from './legend.js';
import { LiveModel } from './live_model.js';
import { Labeller } from './labeller.js';
import { LabelFeed } from './label_feed.js';
import { Connection } from './connection.js';
import { outboxOf } from './outbox.js';
import { DateViews } from './dates.js';
import { Tiles } from './tiles.js';
import { Units } from './units.js';

const L = globalThis.leaflet;
const KEYS = Object.fromEntries([...GRADE_KEYS, ...OTHER_KEYS].map(([key, value]) => [key.toLowerCase(), value]));
const FOLLOW_MS = 90;
const PAN = { arrowleft: [-140, 0], arrowright: [140, 0], arrowup: [0, -110], arrowdown: [0, 110] }; // with the shift key
const MAY_REPEAT = new Set(['+', '=', '-']);
const TOASTS = 4;
const benches = new WeakMap();

export function mount({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector('.wb');
  let bench = benches.get(root);
  if (!bench && root.dataset.built) { // by the scripts of another version: the server was renewed while the page was open
    location.reload();
    return () => {};
  }
  if (!bench) {
    root.dataset.built = '1';
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
    this.selected = null;
    this.labelling = new Labelling(this);
    this.buildMap();
    this.inspector = new Inspector(root.querySelector('.wb-inspector'), this.api, {
      onLabel: (value) => this.labelling.label(value),
      onUndo: () => this.labelling.undo(),
      onNext: () => this.labelling.next(),
      onPrevious: () => this.labelling.previous(),
      onZoom: () => this.selected && this.centre(this.selected, true),
      onClose: () => this.deselect(),
      onComment: () => this.labelling.keepComment(),
      onGuide: () => this.guide.show(),
      onKeys: () => this.guide.showKeys(),
      onTiles: () => this.tiles.show(true),
      onLarge: () => this.labelling.preload(),
      onVeil: () => this.selected && this.footprints.select(this.selected.id, this.selected.detail.geometry, { blind: this.selected.blind || this.inspector.isVeiled(this.selected.detail) }),
      history: new History(this),
    });
    this.live = new LiveModel(this);
    this.inspector.live = this.live;
    this.guide = new Guide(root, this);
    this.naming = new Labeller(this);
    this.openOutbox();
    this.tiles = new Tiles(this, L);
    this.pulse = new LabelFeed(this);
    this.onKey = (event) => this.key(event);
    document.addEventListener('keydown', this.onKey);
    this.observer = new ResizeObserver(() => this.gone || this.views.resize());
    this.observer.observe(this.stage);
  }

  /** What an earlier page could not send goes first; it may say of somebody else only where nobody signs in. */
  openOutbox() {
    this.outbox = outboxOf(this.api, this.data);
    this.connection = new Connection(this);
    this.outbox.onChange = () => this.gone || this.connection.update();
    this.outbox.onLate = (...said) => this.labelling.late(...said);
    const mine = (labeller) => !this.data.signed_in || labeller === this.data.labeller;
    if (this.data.may_write !== false) this.outbox.restore(mine).then((entries) => this.gone || this.labelling.restored(entries));
    this.connection.update();
  }

  buildMap() {
    const { data } = this;
    this.map = L.map(this.stage.querySelector('.wb-map'), {
      minZoom: data.min_zoom, maxZoom: data.max_zoom, zoomControl: false, attributionControl: false,
      keyboard: false, boxZoom: false, zoomSnap: 0.25, wheelPxPerZoomLevel: 100,
    });
    this.storageKey = `damage_ssl:view:${data.event}`;
    const kept = this.keptView();
    if (kept) this.map.setView(kept.centre, kept.zoom);
    else this.fit();
    this.map.on('dragend zoomend', () => this.keepView());
    for (const [selector, step] of [['.wb-nearer', 1], ['.wb-farther', -1]]) {
      this.stage.querySelector(selector).addEventListener('click', () => this.map.setZoom(this.map.getZoom() + step));
    }
    L.control.scale({ position: 'bottomright', imperial: false, maxWidth: 120 }).addTo(this.map);
    this.views = new DateViews(L, this.map, this.stage, this.api, data);
    this.footprints = new Footprints(L, this.map, this.api, this.views, {
      onSelect: (id) => (this.tiles.active ? this.tiles.paint(id) : this.select(id, { drawn: 'map' })),
      onCount: (answer) => {
        this.showCount(answer);
        this.pulse.shown(answer.revision);
      },
      onError: (message) => this.toast(message, true),
    });
    this.choosing = new BoxSelection(this);
    this.controls = new Controls(this, L);
    this.views.onMap = (other) => {
      this.footprints.addFace(other, 'post', 'outlines-post');
      this.footprints.overview.addMap(other);
      this.choosing.watch(other);
      this.controls.watch(other);
      L.control.scale({ position: 'bottomright', imperial: false, maxWidth: 120 }).addTo(other);
    };
    this.legend = new Legend(this.stage.querySelector('.wb-legend'), (mode) => this.footprints.setMode(mode));
    for (const button of this.stage.querySelectorAll('[data-view-mode]')) {
      button.addEventListener('click', () => this.views.setMode(button.dataset.viewMode));
    }
    this.stage.querySelector('.wb-fit').addEventListener('click', () => this.fit());
    L.DomEvent.disableClickPropagation(this.stage.querySelector('.wb-legend'));
    this.area = new AreaDrawing(L, this.map, this.stage, (ring) => this.setStateValue('area', ring));
    this.units = new Units(L, this.map);
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
    this.area.update(data);
    this.units.update(data);
    this.inspector.update(data);
    this.footprints.update(data);
    this.live.update(data);
    this.choosing.update();
    this.controls.update(data);
    this.tiles.update(data);
    this.naming.update(data);
    const sameModel = before.run_id === data.run_id;
    const sameQueue = JSON.stringify(before.queue) === JSON.stringify(data.queue);
    if (before.step !== null && !(sameModel && sameQueue)) this.labelling.forget();
    if (before !== data && !sameModel) {
      const { selected } = this;
      if (selected) this.select(selected.id, { ...selected, given: null, keepView: true });
    }
    this.showInspector();
    if (before.step === null && !this.keptView()) {
      this.map.invalidateSize({ animate: false });
      this.fit();
    }
    const linked = before.step === null && new URL(location.href).searchParams.get('building');
    if (linked) this.goTo(linked);
    else if (data.step === 'label' && before.step !== 'label' && !this.selected && !this.tiles.active) this.labelling.next();
    else if (before.step !== null && !sameQueue && data.queue.kind !== 'label') this.labelling.next();
    this.root.dataset.ready = '1';
  }

  destroy() {
    if (this.gone) return;
    this.gone = true;
    this.area.destroy();
    clearTimeout(this.moving);
    this.labelling.stop();
    this.pulse.stop();
    this.footprints.stop();
    document.removeEventListener('keydown', this.onKey);
    this.observer.disconnect();
    this.views.destroy();
    this.map.remove();
    benches.delete(this.root);
    delete this.root.dataset.built;
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
      this.tiles.active && this.tiles.actionOf(key, KEYS[key]) ? this.tiles.actionOf(key, KEYS[key])
      : KEYS[key] && this.choosing.active ? () => this.choosing.label(KEYS[key])
      : KEYS[key] && this.selected ? () => this.labelling.label(KEYS[key])
      : key === 't' && this.data.step === 'label' ? () => this.tiles.show(true)
      : key === 'z' ? () => this.labelling.undo()
      : key === 'escape' && (this.choosing.active || this.choosing.armed) ? () => this.choosing.clear()
      : key === 'escape' ? () => this.deselect()
      : key === 'w' ? () => this.inspector.toggleView()
      : key === 'l' && this.selected ? () => this.inspector.toggleLarge()
      : key === 'h' ? () => this.inspector.toggleOutline()
      : key === 'c' && this.selected ? () => this.inspector.writeComment()
      : key === 'g' ? () => this.guide.show()
      : key === '?' ? () => this.guide.showKeys()
      : key === 'f' ? () => this.views.flickerKey()
      : key === ' ' && this.views.mode === 'flicker' && !event.target.closest?.('button, a, summary') ? () => this.views.flip(true)
      : key === '/' ? () => this.controls.open(true)
      : key === 'p' ? () => this.controls.copy()
      : PAN[key] && event.shiftKey ? () => this.map.panBy(PAN[key], { duration: 0.15 })
      : key === '+' || key === '=' ? () => this.map.zoomIn()
      : key === '-' ? () => this.map.zoomOut()
      : key === 'arrowright' ? () => this.labelling.next()
      : key === 'arrowleft' ? () => this.labelling.previous()
      : null;
    if (!action || isWidget(event.target, key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat && !MAY_REPEAT.has(key) && !(PAN[key] && event.shiftKey)) return; // a held key is one answer
    action();
  }

  /** `why` it is asked about, `blind` where the model's verdict is hidden: then its facts are `given`. */
  async select(id, { drawn, probability = null, why = null, blind = false, given = null, keepView = false, remember = true }) {
    this.wanted = id;
    let detail;
    try {
      detail = given ?? (await this.inspector.fetch(id, this.data.run_id, blind));
    } catch (error) {
      this.toast(`Building ${id}: ${error.message}`, true);
      return;
    }
    if (this.gone || this.wanted !== id) return;
    const own = this.footprints.labels.get(id); // an answer on its way is newer than what the server said
    if (own?.revision === Infinity && !detail.label) detail.label = own.value ? { value: own.value, labeller: this.data.labeller } : null;
    if (remember && this.selected && this.selected.id !== id) this.labelling.visited.push(this.selected);
    this.selected = { id, drawn, probability, why, blind, detail };
    this.keepChoice(drawn === 'map' ? id : null);
    this.inspector.show(detail, { why, blind });
    this.showInspector();
    this.footprints.select(id, detail.geometry, { blind: blind || this.inspector.isVeiled(detail) });
    clearTimeout(this.moving); // fast keys: the map follows when the hand rests
    if (!keepView && drawn !== 'map') this.moving = setTimeout(() => this.centre(this.selected), FOLLOW_MS);
  }

  /** A label that came otherwise than by an answer of this page: one that was put back. */
  relabelled(id, label, revision) {
    this.inspector.known.clear();
    this.footprints.setLabel(id, label?.value ?? null, revision);
    if (this.selected?.id === id) {
      this.selected.detail.label = label;
      this.inspector.show(this.selected.detail);
    }
    this.labelling.tellPage(revision);
  }

  deselect() {
    this.wanted = null;
    this.selected = null;
    this.keepChoice(null);
    this.inspector.hide();
    this.inspector.toggleLarge(false);
    this.footprints.select(null, null);
    this.showInspector();
  }

  /** Outside the labelling step the map takes the whole width until a building is selected. */
  showInspector() {
    this.root.classList.toggle('read-only', this.data.may_write === false);
    this.root.classList.toggle('narrow', !this.selected && this.data.step !== 'label');
  }

  /** A building that was chosen on the map is in the address: a link to the page opens it, and so does a reload. */
  keepChoice(id) {
    const address = new URL(location.href);
    if (address.searchParams.get('building') === id) return;
    if (id) address.searchParams.set('building', id);
    else address.searchParams.delete('building');
    history.replaceState(history.state, '', address);
  }

  centre({ detail }, zoomIn = false) {
    const zoom = this.map.getZoom();
    const close = Math.min(this.data.max_zoom, this.data.native_zoom);
    const inner = this.map.getBounds().pad(-0.2);
    const position = L.latLng(detail.lat, detail.lon);
    if (zoomIn || zoom < close - 1) this.map.setView(position, close, { animate: false });
    else if (!inner.contains(position)) this.map.setView(position, zoom, { animate: false });
  }

  goTo(id) {
    this.select(id, { drawn: 'map' }).then(() => this.selected?.id === id && this.centre(this.selected, true));
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
    if (shown.capped) texts.push(`${shown.in_view.toLocaleString('en')} in view · zoom in for outlines`);
    badge.textContent = texts.join(' · ');
    badge.hidden = texts.length === 0;
    this.stage.dataset.matched = String(matched);
  }

  /** `action`: a button beside the message, `name` and what it does. `stays`: until it is closed by hand. */
  toast(message, bad = false, action = null, stays = false) {
    const toast = h('div', { class: `wb-toast${bad ? ' bad' : ''}`, role: 'status' }, message);
    if (action) toast.append(h('button', { type: 'button', onclick: () => { toast.remove(); action.act(); } }, action.name));
    const toasts = this.stage.querySelector('.wb-toasts');
    const again = [...toasts.children].find((each) => each.textContent === toast.textContent);
    if (again && !stays) again.remove();
    toasts.append(toast);
    if (stays) toast.append(h('button', { type: 'button', 'aria-label': 'Close this message', onclick: () => toast.remove() }, '×'));
    else {
      toast.classList.add('passing');
      setTimeout(() => toast.remove(), bad || action ? 9000 : 3500);
    }
    while (toasts.children.length > TOASTS && toasts.querySelector('.passing')) toasts.querySelector('.passing').remove();
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
