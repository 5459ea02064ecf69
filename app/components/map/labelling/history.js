/** All that was ever said of the selected building, by people and by models; an earlier state can be put back. */

import { h, percent } from './dom.js';

const REST_MS = 250;

export class History {
  /** `bench` gives the api, the page's data, toasts and what to do once a state was put back. */
  constructor(bench) {
    this.bench = bench;
    this.list = h('ol', { class: 'wb-history-rows' });
    this.verdicts = h('ul', { class: 'wb-history-verdicts' });
    this.hint = h('p', { class: 'wb-muted' });
    this.root = h('details', { class: 'wb-history' }, h('summary', {}, 'History'), this.hint, this.list, this.verdicts);
    this.root.addEventListener('toggle', () => this.root.open && this.load());
  }

  /** Another building, or another state of it; asked for only where the block is open and the hand rests. */
  show(id, { blind = false } = {}) {
    this.blind = blind;
    clearTimeout(this.timer);
    if (id !== this.id || blind) this.clear(blind ? 'Hidden until you have answered.' : '');
    this.id = id;
    if (this.root.open && !blind) this.timer = setTimeout(() => this.load(), REST_MS);
  }

  clear(text) {
    this.hint.textContent = text;
    this.hint.hidden = !text;
    this.list.replaceChildren();
    this.verdicts.replaceChildren();
  }

  async load() {
    const { id } = this;
    if (!id || this.blind) return;
    try {
      const answer = await this.bench.api.get('history', { id, run: this.bench.data.run_id });
      if (this.id === id && !this.blind) this.draw(answer);
    } catch (error) {
      this.clear(`Could not be read: ${error.message}`);
    }
  }

  draw({ rows, verdicts }) {
    this.clear(rows.length ? '' : 'Nobody has labelled this building yet.');
    const mayWrite = this.bench.data.may_write;
    this.list.replaceChildren(...rows.map((row) => this.entry(row, rows.length, mayWrite)).reverse());
    this.verdicts.replaceChildren(...verdicts.map((verdict) => this.verdict(verdict)));
  }

  entry(row, count, mayWrite) {
    const { palette } = this.bench.data;
    const entry = palette[row.value];
    const swatch = h('i', {});
    swatch.style.background = entry?.colour ?? 'transparent';
    const current = row.row === count - 1;
    const button = current || !mayWrite ? null
      : h('button', { class: 'wb-ghost', type: 'button', title: 'Make this the current label again',
          'aria-label': `Put back ${entry?.name ?? 'no label'} by ${row.labeller}`, onclick: () => this.revert(row, count - 1) }, 'Put back');
    return h('li', { class: current ? 'current' : null },
      h('div', { class: 'wb-history-line' }, swatch, h('b', {}, entry?.name ?? 'Label withdrawn'), h('span', {}, row.labeller), button),
      h('div', { class: 'wb-muted' }, [when(row.time), row.why, row.comment].filter(Boolean).join(' · ')));
  }

  verdict({ name, said, measure, p, learned, shown }) {
    const number = p === null ? '' : measure === 'probability' ? ` ${percent(p)} damaged` : ` change score ${p.toFixed(2)}`;
    const notes = [shown ? 'on the map' : '', learned ? 'learned from this label' : ''].filter(Boolean).join(', ');
    return h('li', {}, h('b', {}, name), ` ${said ?? 'not predicted'},${number}`, notes ? h('span', { class: 'wb-muted' }, ` · ${notes}`) : null);
  }

  revert(row, from) {
    const { id } = this;
    // Undo is there before the answer is, for whoever presses Z at once; what is written stays in order.
    const { labelling } = this.bench;
    const undoing = { undo: () => this.putBack(id, from) };
    labelling.undoStack.push(undoing);
    this.putBack(id, row.row).then((done) => {
      if (done) this.bench.toast('Put back. Z undoes it.');
      else labelling.undoStack = labelling.undoStack.filter((each) => each !== undoing);
    });
  }

  /** Append a row that says again what row `to` had said; nothing is deleted. */
  async putBack(id, to) {
    const { outbox, data } = this.bench;
    try {
      const { revision, label } = await outbox.send('history', { building_id: id, to, labeller: data.labeller });
      this.bench.relabelled(id, label, revision);
    } catch (error) {
      this.bench.toast(`Not put back: ${error.message}`, true);
      return false;
    }
    if (this.root.open && this.id === id) this.load();
    return true;
  }
}

/** `12 Oct 2017, 14:05` in the reader's own time zone. */
function when(iso) {
  const moment = new Date(iso);
  if (Number.isNaN(moment.getTime())) return iso;
  return moment.toLocaleString('en-GB', { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit' });
}
