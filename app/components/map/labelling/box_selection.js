/** Answers given on the map itself: many buildings at once by a box, and a label taken back by a right click. */

import { h } from './dom.js';
import { GRADE_KEYS, OTHER_KEYS } from './inspector.js';
import { newId } from './outbox.js';

const LEAST_PX = 6;

export class BoxSelection {
  constructor(bench) {
    this.bench = bench;
    this.items = [];
    this.button = bench.stage.querySelector('.wb-box');
    this.bar = bench.stage.querySelector('.wb-chosen');
    this.button.addEventListener('click', () => this.arm(!this.armed));
    this.watch(bench.map);
  }

  get active() {
    return this.items.length > 0;
  }

  get mayWrite() {
    return this.bench.data.may_write !== false;
  }

  update() {
    this.button.hidden = !this.mayWrite;
    if (!this.mayWrite) this.clear();
  }

  /** The next drag draws a box instead of moving the map; so does any drag with the shift key. */
  arm(on) {
    this.armed = on && this.mayWrite;
    this.button.setAttribute('aria-pressed', String(this.armed));
    for (const map of this.maps) {
      map.getContainer().classList.toggle('boxing', this.armed);
      map.dragging[this.armed ? 'disable' : 'enable']();
    }
  }

  get maps() {
    return [this.bench.map, this.bench.views.other].filter(Boolean);
  }

  watch(map) {
    const container = map.getContainer();
    container.addEventListener('pointerdown', (event) => {
      if ((event.shiftKey || this.armed) && event.button === 0 && this.mayWrite && !event.target.closest('.leaflet-control')) this.draw(event, map);
    });
    map.on('contextmenu', (event) => {
      event.originalEvent.preventDefault();
      this.takeBack(event, map);
    });
  }

  draw(event, map) {
    event.preventDefault();
    const container = map.getContainer();
    const corner = container.getBoundingClientRect();
    const at = (moved) => [moved.clientX - corner.left, moved.clientY - corner.top];
    const start = at(event);
    const frame = h('div', { class: 'wb-drawn' });
    container.append(frame);
    container.setPointerCapture(event.pointerId);
    const move = (moved) => {
      const [x, y] = at(moved);
      Object.assign(frame.style, {
        left: `${Math.min(x, start[0])}px`, top: `${Math.min(y, start[1])}px`,
        width: `${Math.abs(x - start[0])}px`, height: `${Math.abs(y - start[1])}px`,
      });
    };
    const stop = (ended) => {
      container.removeEventListener('pointermove', move);
      for (const name of ['pointerup', 'pointercancel']) container.removeEventListener(name, stop);
      frame.remove();
      const [x, y] = at(ended);
      if (ended.type === 'pointercancel' || Math.max(Math.abs(x - start[0]), Math.abs(y - start[1])) < LEAST_PX) return;
      // The click that ends the drag is not one on a building.
      container.addEventListener('click', (click) => click.stopPropagation(), { capture: true, once: true });
      setTimeout(() => this.arm(false));
      this.choose(map, start, [x, y]);
    };
    container.addEventListener('pointermove', move);
    for (const name of ['pointerup', 'pointercancel']) container.addEventListener(name, stop);
  }

  async choose(map, [x0, y0], [x1, y1]) {
    const { bench } = this;
    const corners = [[x0, y0], [x1, y1]].map((point) => map.containerPointToLatLng(point));
    const [west, east] = corners.map((each) => each.lng).sort((a, b) => a - b);
    const [south, north] = corners.map((each) => each.lat).sort((a, b) => a - b);
    const role = bench.views.roleAt({ x: (x0 + x1) / 2, y: (y0 + y1) / 2 }, map);
    try {
      const bbox = [west, south, east, north].map((value) => value.toFixed(7)).join(',');
      const { count, most, items } = await bench.api.get('within', { ...bench.footprints.query(), on: role, bbox });
      this.take(items);
      if (count === 0) bench.toast('No building in the box.');
      else if (!items.length) bench.toast(`${count.toLocaleString('en')} buildings in the box; at most ${most} can be labelled at once. Draw a smaller one.`, true);
    } catch (error) {
      bench.toast(`The buildings in the box could not be read: ${error.message}`, true);
    }
  }

  take(items) {
    this.items = items;
    this.bench.footprints.choose(items.map((item) => item.id));
    this.bar.hidden = items.length === 0;
    this.bench.stage.dataset.chosen = String(items.length);
    if (!items.length) return;
    const { palette } = this.bench.data;
    const labelled = items.filter((item) => item.label).length;
    const answer = ([key, value]) => {
      const button = h('button', { type: 'button', title: palette[value].help, onclick: () => this.label(value) }, h('kbd', {}, key), ` ${palette[value].name}`);
      button.style.setProperty('--colour', palette[value].colour);
      return button;
    };
    this.bar.replaceChildren(
      h('div', { class: 'wb-chosen-head' },
        h('b', {}, `${items.length} ${items.length === 1 ? 'building' : 'buildings'} chosen`),
        h('span', {}, labelled ? `${labelled} of them already labelled: these get the new answer` : 'All get the same answer'),
        h('button', { type: 'button', onclick: () => this.clear() }, h('kbd', {}, 'Esc'), ' Leave')),
      h('div', { class: 'wb-chosen-answers' }, ...[...GRADE_KEYS, ...OTHER_KEYS].map(answer)));
  }

  clear() {
    if (this.armed) this.arm(false);
    this.take([]);
  }

  label(value) {
    const { items, bench } = this;
    const { labelling } = bench;
    this.take([]);
    if (bench.tiles.active) {
      bench.tiles.mark(items.map((item) => item.id), value);
      return;
    }
    const id = newId();
    const entry = { undo: () => this.undo(items, value, id) };
    labelling.undoStack.push(entry);
    const name = bench.data.palette[value].name;
    this.send({ building_ids: items.map((item) => item.id), value, drawn: 'map-box' }, items.map((item) => ({ id: item.id, value })), items, id).then((saved) => {
      if (!saved) labelling.undoStack = labelling.undoStack.filter((each) => each !== entry);
      else bench.toast(`${items.length} labelled: ${name}.`, false, { name: 'Undo', act: () => this.undoEntry(entry) });
    });
  }

  undo(items, value, of) {
    this.send({ building_ids: items.map((item) => item.id), undo: true, undo_of: of }, items.map(({ id, label }) => ({ id, value: label })), items.map(({ id }) => ({ id, label: value })))
      .then((saved) => saved && this.bench.toast(`${items.length} ${items.length === 1 ? 'answer' : 'answers'} taken back.`));
  }

  /** Undo one entry from its toast, if nobody has undone it by key. */
  undoEntry(entry) {
    const { labelling } = this.bench;
    if (!labelling.undoStack.includes(entry)) return;
    labelling.undoStack = labelling.undoStack.filter((each) => each !== entry);
    entry.undo();
  }

  /** Show at once, write all or none, and take back what the server refuses. */
  async send(body, shown, before, id = newId()) {
    const { bench } = this;
    bench.footprints.setLabels(shown);
    for (const { id } of shown) bench.inspector.unlearn(id);
    try {
      const { revision } = await bench.outbox.send('labels/many', { ...body, labeller: bench.data.labeller }, { shown, id });
      bench.footprints.setLabels(shown, revision);
      bench.labelling.tellPage(revision);
      bench.live?.refresh();
      this.refreshSelected(shown);
      return true;
    } catch (error) {
      bench.footprints.setLabels(before.map(({ id, label }) => ({ id, value: label })));
      for (const { id } of before) bench.footprints.forgetLabel(id);
      bench.toast(`${before.length} answers not taken: ${error.message}`, true, null, true);
      return false;
    }
  }

  /** The inspector shows the selected building anew, if it was among those that changed. */
  refreshSelected(changed) {
    const { selected } = this.bench;
    if (!selected || selected.blind || !changed.some(({ id }) => id === selected.id)) return;
    this.bench.select(selected.id, { ...selected, given: null, keepView: true, remember: false });
  }

  async takeBack({ latlng, containerPoint }, map) {
    if (!this.mayWrite) return;
    const { bench } = this;
    try {
      const found = await bench.footprints.at(latlng, bench.views.roleAt(containerPoint, map), map);
      if (!found.id) return;
      if (!found.label) {
        bench.toast(`Building ${found.id} has no label to clear.`);
        return;
      }
      const items = [found];
      const id = newId();
      const entry = { undo: () => this.undo(items, null, id) };
      bench.labelling.undoStack.push(entry);
      const saved = await this.send({ building_ids: [found.id], value: null, drawn: 'map' }, [{ id: found.id, value: null }], items, id);
      if (!saved) bench.labelling.undoStack = bench.labelling.undoStack.filter((each) => each !== entry);
      else bench.toast(`Label of ${found.id} cleared.`, false, { name: 'Undo', act: () => this.undoEntry(entry) });
    } catch (error) {
      bench.toast(`The label could not be cleared: ${error.message}`, true);
    }
  }
}
