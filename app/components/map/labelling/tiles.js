/** Labelling by tiles: a grid and a list with progress; in the open tile the damaged buildings are painted, the rest is one key. */

import { h } from './dom.js';
import { GRADE_KEYS, OTHER_KEYS } from './inspector.js';
import { newId } from './outbox.js';
import { verdictFirst } from './verdict_first.js';

const STRATEGIES = [
  ['mixed', 'As suited (some at random)'],
  ['random', 'At random'],
  ['spread', 'Spread over the event'],
  ['uncertain', 'Where the model is unsure'],
  ['likely', 'Where damage is likely'],
];
const SIDES_M = [100, 150, 200, 250];
const LISTED = 200;
const LONGEST_MS = 30_000;
const KEEPALIVE_BYTES = 0;
const WHY = { random: 'drawn at random: counts for the total', spread: 'to spread over the event', uncertain: 'the model is unsure here', likely: 'damage is likely here', map: 'chosen on the map' };

export class Tiles {
  constructor(bench, L) {
    this.bench = bench;
    this.L = L;
    this.root = bench.root.querySelector('.wb-tiles');
    this.open = null;
    this.brush = 'destroyed';
    this.strategy = 'mixed';
    bench.map.createPane('tiles').style.zIndex = 455;
    this.grid = L.layerGroup().addTo(bench.map);
    this.renderer = L.svg({ pane: 'tiles', padding: 0.5 });
    this.kept = `damage_ssl:tile:${bench.data.event_key}`;
  }

  get active() {
    return !this.root.hidden;
  }

  update({ step, may_write: mayWrite }) {
    if (this.active && (step !== 'label' || mayWrite === false)) this.show(false);
  }

  /** Into labelling by tiles, or back to building by building. */
  show(on) {
    const { bench } = this;
    if (on === this.active || (on && (bench.data.step !== 'label' || bench.data.may_write === false))) return;
    this.root.hidden = !on;
    bench.root.classList.toggle('tiling', on);
    if (on) {
      bench.deselect();
      this.before = { mode: bench.views.mode, colours: bench.legend.mode };
      this.colourBy(verdictFirst() ? this.before.colours : 'labels');
      this.resume();
    } else {
      this.leave();
      this.grid.clearLayers();
      this.colourBy(this.before.colours);
      bench.views.setMode(this.before.mode);
      bench.labelling.next();
    }
    bench.views.resize();
  }

  colourBy(mode) {
    const { legend } = this.bench;
    legend.mode = mode;
    legend.onMode(mode);
    legend.draw();
  }

  /** The tile that was open before a reload goes on with its marks. */
  async resume() {
    const kept = this.read();
    await this.refresh();
    if (kept && this.tiles?.some((tile) => tile.id === kept.id)) await this.take({ tile: kept.id }, kept);
    else this.list();
  }

  async refresh() {
    try {
      const found = await this.bench.api.get('labelling-tiles', { labeller: this.bench.data.labeller });
      [this.tiles, this.sideM] = [found.tiles, found.side_m];
    } catch (error) {
      this.bench.toast(`The tiles could not be read: ${error.message}`, true);
    }
  }

  // the list

  list() {
    this.drawGrid();
    const tiles = this.tiles ?? [];
    const done = tiles.filter((tile) => tile.answered >= tile.buildings).length;
    const open = tiles.filter((tile) => tile.answered < tile.buildings)
      .sort((one, other) => other.answered / other.buildings - one.answered / one.buildings || one.label.localeCompare(other.label, 'en', { numeric: true }));
    const listed = [...open, ...tiles.filter((tile) => tile.answered >= tile.buildings)].slice(0, LISTED);
    this.root.replaceChildren(
      this.head('Tiles', () => this.show(false), 'Back to single buildings'),
      h('p', {}, `${tiles.length.toLocaleString('en')} tiles of ${this.sideM} m; ${done.toLocaleString('en')} answered. Open one, mark what is damaged, and the rest is one key.`),
      this.choice('Which comes next', STRATEGIES, this.strategy, (value) => { this.strategy = value; }),
      h('button', { class: 'wb-next', type: 'button', onclick: () => this.take({ strategy: this.strategy }) }, 'Next tile ', h('kbd', {}, '→')),
      this.choice('Side of a tile', [...new Set([...SIDES_M, this.sideM])].sort((a, b) => a - b).map((side) => [side, `${side} m`]), this.sideM, (value) => this.layOut(Number(value))),
      h('ul', { class: 'wb-tile-list' }, ...listed.map((tile) => this.entry(tile))));
    this.root.dataset.tile = '';
  }

  head(title, onclick, name) {
    return h('div', { class: 'wb-head' }, h('h2', {}, title), h('button', { class: 'wb-close', type: 'button', title: `${name} (Esc)`, 'aria-label': name, onclick }, '×'));
  }

  choice(name, options, chosen, onchange) {
    return h('label', {}, name, h('select', { onchange: (event) => onchange(event.target.value) },
      ...options.map(([value, text]) => h('option', { value, selected: value === chosen }, text))));
  }

  entry(tile) {
    const fill = h('i', { style: { width: `${(100 * tile.answered) / tile.buildings}%` } });
    const text = tile.taken_by ? `${tile.taken_by} is here` : `${tile.answered} of ${tile.buildings}`;
    return h('li', {}, h('button', { type: 'button', disabled: Boolean(tile.taken_by), dataset: { tile: tile.id }, onclick: () => this.take({ tile: tile.id }) },
      h('b', {}, tile.label), h('div', { class: 'wb-meter' }, fill), h('span', {}, text)));
  }

  drawGrid() {
    this.grid.clearLayers();
    for (const tile of this.tiles ?? []) {
      const share = tile.answered / tile.buildings;
      const square = this.L.polygon(tile.corners, {
        pane: 'tiles', renderer: this.renderer, className: 'wb-tile', color: '#fff', weight: 1.5, dashArray: tile.taken_by ? '4 4' : null,
        fillColor: share >= 1 ? '#0b5cad' : '#8d96a0', fillOpacity: share >= 1 ? 0.45 : 0.05 + 0.3 * share,
      });
      const said = h('span', {}, `Tile ${tile.label}: ${tile.answered} of ${tile.buildings} answered${tile.taken_by ? `, open at ${tile.taken_by}` : ''}`);
      square.bindTooltip(said, { sticky: true });
      square.on('click', (event) => {
        this.L.DomEvent.stop(event);
        if (!tile.taken_by) this.take({ tile: tile.id });
      });
      square.addTo(this.grid);
    }
  }

  async layOut(sideM) {
    if (await this.ask({ side_m: sideM, leave: true })) await this.refresh();
    this.list();
  }

  // the open tile

  async ask(body) {
    const { api, data } = this.bench;
    try {
      return await api.write('labelling-tiles/open', { ...body, run: data.run_id, labeller: data.labeller }, LONGEST_MS, KEEPALIVE_BYTES);
    } catch (error) {
      this.bench.toast(error.message, true);
      return null;
    }
  }

  /** Open a tile by name, or the next by a strategy. */
  async take(wanted, kept = null) {
    const answer = await this.ask(wanted);
    if (!answer || this.bench.gone || !this.active) {
      if (answer === null && !this.open) this.list();
      return;
    }
    if (!answer.tile) {
      this.bench.toast('No tile is left that way: every one is answered, or somebody has it open.');
      await this.refresh();
      this.leave();
      this.list();
      return;
    }
    this.open = kept ? { ...answer.tile, drawn: kept.drawn, probability: kept.probability } : answer.tile;
    this.inside = new Map(this.open.buildings.map(({ id, label }) => [id, label]));
    this.marks = new Map(kept?.marks.filter(([id]) => this.inside.has(id)) ?? []);
    this.steps = [...this.marks.keys()].map((id) => ({ ids: [id], before: [null] }));
    this.write();
    this.bench.footprints.setLabels([...this.marks].map(([id, value]) => ({ id, value })));
    this.frame();
    this.panel();
  }

  /** Pre and post beside each other, the tile in the middle of both. */
  frame() {
    const { bench, L } = this;
    this.grid.clearLayers();
    bench.views.setMode('side');
    const edge = () => L.polygon(this.open.corners, { interactive: false, fill: false, color: '#ffd84d', weight: 2.5, dashArray: '8 5' });
    edge().addTo(this.grid);
    this.second?.remove();
    this.second = bench.views.other ? edge().addTo(bench.views.other) : null;
    bench.map.fitBounds(this.open.corners, { padding: [14, 14], animate: false });
  }

  panel() {
    const { palette } = this.bench.data;
    const brush = ([key, value]) => {
      const button = h('button', { type: 'button', 'aria-pressed': String(value === this.brush), dataset: { brush: value }, title: palette[value].help ?? '', onclick: () => this.choose(value) },
        h('kbd', {}, key), palette[value].name);
      button.style.setProperty('--colour', palette[value].colour);
      return button;
    };
    const count = this.open.buildings.length;
    this.root.dataset.tile = this.open.id;
    this.root.replaceChildren(
      this.head(`Tile ${this.open.label}`, () => this.close(), 'Back to the list'),
      h('p', {}, `${count} ${count === 1 ? 'building' : 'buildings'} · ${WHY[this.open.drawn] ?? ''}`),
      h('p', {}, 'Choose what it is, then click the buildings. Or draw a box with Shift and press its key.'),
      h('div', { class: 'wb-brushes' }, ...[...GRADE_KEYS.slice(1), GRADE_KEYS[0], ...OTHER_KEYS].map(brush)),
      (this.said = h('p', { role: 'status' })),
      h('button', { class: 'wb-next', type: 'button', onclick: () => this.finish('no-damage') }, 'The rest is no damage ', h('kbd', {}, 'Enter')),
      h('div', { class: 'wb-tile-rest' },
        h('button', { class: 'wb-ghost', type: 'button', onclick: () => this.finish('unclear') }, 'Rest unclear'),
        h('button', { class: 'wb-ghost', type: 'button', onclick: () => this.finish('bad-imagery') }, 'Rest bad imagery'),
        h('button', { class: 'wb-ghost', type: 'button', onclick: () => this.undo() }, h('kbd', {}, 'Z'), ' Undo')));
    this.count();
  }

  count() {
    const marked = this.marks.size;
    const before = [...this.inside].filter(([id, label]) => label && !this.marks.has(id)).length;
    const rest = this.inside.size - marked - before;
    this.said.textContent = [`${marked} marked`, before ? `${before} answered before` : '', `the other ${rest}: no damage`].filter(Boolean).join(' · ');
    this.root.dataset.marked = String(marked);
  }

  choose(value) {
    this.brush = value;
    for (const button of this.root.querySelectorAll('[data-brush]')) button.setAttribute('aria-pressed', String(button.dataset.brush === value));
  }

  /** A click on the map: the building gets what was chosen, and with the same again loses it. */
  paint(id) {
    if (!this.open) return;
    if (!this.inside.has(id)) this.bench.toast('That building belongs to another tile.');
    else this.mark([id], this.marks.get(id) === this.brush ? null : this.brush);
  }

  mark(ids, value) {
    const mine = ids.filter((id) => this.inside?.has(id));
    if (!this.open || !mine.length) return;
    this.steps.push({ ids: mine, before: mine.map((id) => this.marks.get(id) ?? null) });
    this.set(mine, mine.map(() => value));
  }

  set(ids, values) {
    ids.forEach((id, place) => (values[place] ? this.marks.set(id, values[place]) : this.marks.delete(id)));
    this.bench.footprints.setLabels(ids.map((id) => ({ id, value: this.marks.get(id) ?? this.inside.get(id) ?? null })));
    this.write();
    this.count();
  }

  undo() {
    const step = this.open && this.steps.pop();
    if (step) this.set(step.ids, step.before);
    else this.bench.labelling.undo();
  }

  /** All rows at once, as one answer, which can be undone as one; then the next tile. */
  finish(rest) {
    const { bench } = this;
    const tile = this.open;
    if (!tile) return;
    const id = newId();
    const shown = tile.buildings.filter(({ id: building, label }) => this.marks.has(building) || !label)
      .map(({ id: building }) => ({ id: building, value: this.marks.get(building) ?? rest }));
    const body = { tile: tile.id, marks: Object.fromEntries(this.marks), rest, drawn: tile.drawn, labeller: bench.data.labeller };
    bench.footprints.setLabels(shown);
    const entry = { undo: () => this.takeBack(tile, id) };
    bench.labelling.undoStack.push(entry);
    this.leave(false);
    this.said.textContent = `Saving tile ${tile.label} …`;
    bench.outbox.send('labelling-tiles/answer', body, { shown, id }).then(
      ({ revision }) => {
        if (bench.gone) return;
        bench.footprints.setLabels(shown, revision);
        bench.labelling.tellPage(revision);
        bench.live.refresh();
        bench.toast(`Tile ${tile.label}: ${tile.buildings.length} buildings answered.`, false, { name: 'Undo', act: () => bench.choosing.undoEntry(entry) });
        if (this.active && !this.open) this.take({ strategy: this.strategy });
      },
      (error) => {
        if (bench.gone) return;
        bench.labelling.undoStack = bench.labelling.undoStack.filter((each) => each !== entry);
        for (const { id: building } of shown) bench.footprints.forgetLabel(building);
        bench.footprints.load();
        bench.toast(`Tile ${tile.label} not taken: ${error.message}`, true, null, true);
      },
    );
  }

  /** Undo for the whole tile: it opens again as it was before it was answered. */
  takeBack(tile, of) {
    const { bench } = this;
    const shown = tile.buildings.map(({ id, label }) => ({ id, value: label }));
    bench.footprints.setLabels(shown);
    bench.outbox.send('labels/many', { undo: true, undo_of: of, labeller: bench.data.labeller }, { shown }).then(
      ({ revision }) => {
        if (bench.gone) return;
        bench.footprints.setLabels(shown, revision);
        bench.labelling.tellPage(revision);
        bench.toast(`Tile ${tile.label} taken back.`);
        if (this.active) this.take({ tile: tile.id }, { marks: [], drawn: tile.drawn, probability: tile.probability });
      },
      (error) => bench.toast(`Tile ${tile.label} not taken back: ${error.message}`, true, null, true),
    );
  }

  /** Out of the open tile; what was marked in it is forgotten unless it was answered. */
  leave(release = true) {
    if (!this.open) return;
    if (release) {
      this.bench.footprints.setLabels([...this.marks.keys()].map((id) => ({ id, value: this.inside.get(id) ?? null })), -1);
      this.ask({ leave: true });
    }
    this.open = null;
    this.second?.remove();
    this.forget();
  }

  async close() {
    this.leave();
    this.bench.views.setMode(this.before.mode);
    await this.refresh();
    this.list();
  }

  actionOf(key, value) {
    const { choosing } = this.bench;
    if (value) return () => (choosing.active ? choosing.label(value) : this.choose(value));
    if (key === 'enter') return document.activeElement?.closest?.('button, select, a') ? null : () => this.finish('no-damage');
    if (key === 'z') return () => this.undo();
    if (key === 'escape') return choosing.active || choosing.armed ? () => choosing.clear() : this.open ? () => this.close() : () => this.show(false);
    if (key === 'arrowright') return this.open ? () => {} : () => this.take({ strategy: this.strategy });
    if (key === 'arrowleft') return () => {};
    if (key === 't') return () => this.show(false);
    return null;
  }

  // what survives a reload

  write() {
    const { id, drawn, probability } = this.open;
    this.storage((storage) => storage.setItem(this.kept, JSON.stringify({ id, drawn, probability, marks: [...this.marks] })));
  }

  read() {
    return this.storage((storage) => JSON.parse(storage.getItem(this.kept)));
  }

  forget() {
    this.storage((storage) => storage.removeItem(this.kept));
  }

  storage(action) {
    try {
      return action(localStorage);
    } catch {
      return null; // private mode: simply not kept
    }
  }
}
