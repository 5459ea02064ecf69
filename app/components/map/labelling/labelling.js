/** Labelling: the queue that the arrow keys walk, answers, undo. An answer is shown at once, and kept until it is saved. */

import { newId } from './outbox.js';

const QUEUE_SIZE = 12;
const REFILL_AT = 6;
const PAGE = 60;
const PRELOAD = 5;
const TELL_PAGE_MS = 350; // the least between two runs of the page's script for answers

export class Labelling {
  constructor(bench) {
    this.bench = bench;
    this.queue = [];
    this.visited = [];
    this.passed = new Set(); // what the keys walked past: a queue with a fixed order would offer it again
    this.answered = new Set();
    this.undoStack = [];
    this.done = 0;
  }

  get data() {
    return this.bench.data;
  }

  get selected() {
    return this.bench.selected;
  }

  /** Another queue or another model: what was fetched no longer holds. */
  forget() {
    this.queue = [];
    this.passed.clear();
    this.refilling = null;
  }

  stop() {
    clearTimeout(this.telling);
  }

  /** Take the next building of the queue; ask for more in good time. */
  async next() {
    this.queue = this.queue.filter((item) => this.isOpen(item));
    while (this.queue.length === 0 && !(await this.refill())); // what was asked of another queue or model is asked again
    const item = this.queue.shift();
    if (!item) {
      this.atEnd();
      return;
    }
    this.passed.add(item.id);
    const shown = this.bench.select(item.id, asked(item));
    this.preload();
    if (this.queue.length <= REFILL_AT) this.refill();
    await shown;
  }

  /** Pictures of the buildings to come. */
  preload() {
    for (const coming of this.queue.slice(0, PRELOAD)) this.bench.inspector.crops.preload(coming.detail);
  }

  /** What was skipped comes again; where nothing was, all is answered. */
  atEnd() {
    const again = this.skipped;
    const skipped = again.length;
    for (const id of again) this.passed.delete(id);
    this.bench.toast(skipped
      ? `That was the last one. You skipped ${skipped.toLocaleString('en')}: press → to see ${skipped === 1 ? 'it' : 'them'} again.`
      : this.data.queue.kind === 'label' ? 'Every building that can be assessed has an answer.' : 'Nothing more waits in this queue.');
  }

  /** Buildings that the keys walked past without an answer of this page. */
  get skipped() {
    return [...this.passed].filter((id) => !this.answered.has(id));
  }

  /** The labelling queue asks only where there is no label; those for checking ask about labels too. */
  isOpen(item) {
    if (item.id === this.selected?.id || this.passed.has(item.id)) return false;
    return this.data.queue.kind !== 'label' || !this.bench.footprints.labels.has(item.id);
  }

  refill() {
    if (!this.refilling) {
      const asked = this.fetchQueue().finally(() => { if (this.refilling === asked) this.refilling = null; });
      this.refilling = asked;
    }
    return this.refilling;
  }

  /** False where the queue or the model changed meanwhile, so that the answer no longer holds. */
  async fetchQueue() {
    const { run_id: run, queue } = this.data;
    try {
      const fresh = await this.fresh(run, queue);
      if (!fresh) return this.bench.gone ?? false;
      for (const item of fresh.filter((each) => !each.blind)) this.bench.inspector.learn(item.detail, run);
      this.queue.push(...fresh);
      this.preload();
    } catch (error) {
      this.bench.toast(`The queue could not be read: ${error.message}`, true);
    }
    return true;
  }

  /** Items that were not offered yet. A queue with a fixed order begins with what was skipped: that is passed over. */
  async fresh(run, queue) {
    const drawnAnew = queue.kind === 'label';
    const known = new Set(this.queue.map((item) => item.id));
    let start = drawnAnew ? 0 : this.skipped.length;
    let n = QUEUE_SIZE + known.size;
    for (let whole = start === 0; ; n = PAGE) {
      const { items } = await this.bench.api.get('queue', { kind: queue.kind, start, n, run, labeller: this.data.labeller });
      if (run !== this.data.run_id || JSON.stringify(queue) !== JSON.stringify(this.data.queue)) return null;
      const fresh = items.filter((item) => !known.has(item.id) && this.isOpen(item));
      if (fresh.length) return fresh;
      const last = items.length < n;
      if (drawnAnew ? n >= PAGE || last : last && whole) return [];
      if (!drawnAnew) start = last ? 0 : start + n; // others may have answered what was skipped: look from the start once
      whole ||= last;
    }
  }

  previous() {
    const item = this.visited.pop();
    if (item) this.bench.select(item.id, { ...asked(item), remember: false });
  }

  label(value) {
    if (!this.selected || this.data.may_write === false) return;
    if (!this.bench.inspector.crops.isSeen(this.selected.id)) return; // meant for the building before, or for pictures still to come
    const { id, drawn, probability, detail, blind } = this.selected;
    const answerId = newId();
    const before = detail.label;
    const comment = this.bench.inspector.comment();
    this.answered.add(id);
    this.undoStack.push({ ...this.selected, before, answerId });
    this.apply({ id, detail, value, before, drawn, probability, comment, answerId });
    if (blind) { // what was hidden may be seen from now on
      this.bench.inspector.unlearn(id);
      this.selected.blind = false;
    }
    this.done += 1;
    this.flash(value);
    this.next();
  }

  undo() {
    if (this.data.may_write === false) return;
    const last = this.undoStack.pop();
    if (!last) {
      this.bench.toast('Nothing to undo.');
      return;
    }
    if (last.undo) {
      last.undo();
      return;
    }
    this.done -= 1;
    this.answered.delete(last.id);
    this.apply({ ...last, value: last.before?.value ?? null, after: last.before, before: last.detail.label, undo: true, undone: last.answerId, answerId: newId() });
    this.bench.select(last.id, { ...asked(last), remember: false });
  }

  /** Keep what was typed with one's own answer; without one it waits for it. Nobody comments as somebody else. */
  keepComment() {
    const { detail } = this.selected ?? {};
    const comment = this.bench.inspector.comment();
    const label = detail?.label;
    if (this.data.may_write === false || comment === (label?.comment ?? '')) return;
    if (label?.labeller !== this.data.labeller) {
      if (comment) this.bench.toast('The comment is kept with your own answer: give one.');
      return;
    }
    const answerId = newId();
    this.undoStack.push({ ...this.selected, before: label, answerId });
    this.apply({ ...this.selected, value: label.value, before: label, comment, onlyComment: true, answerId });
    this.bench.toast('Comment kept.');
  }

  /** Show a label at once, and write it (or take back the answer `undone`); what the server refuses is not shown any more. */
  apply({ id, detail, value, before, drawn, probability, comment = '', undo = false, undone = null, after = null, onlyComment = false, answerId }) {
    const { labeller } = this.data;
    detail.label = undo ? after : value ? { value, labeller, comment } : null;
    this.bench.footprints.setLabel(id, value);
    this.bench.inspector.setTally(this.done > 0 ? `${this.done} labelled in this session` : '');
    const body = undo
      ? { building_id: id, labeller, undo, undo_of: undone }
      : onlyComment ? { building_id: id, labeller, comment, only_comment: true }
      : { building_id: id, value, labeller, drawn, inclusion_probability: probability, comment };
    const asked = () => (this.bench.live.shown && !this.bench.gone ? { live: this.bench.live.question() } : {});
    this.bench.outbox.send('labels', body, { shown: [{ id, value }], asked, id: answerId }).then(
      ({ revision, live }) => {
        if (this.bench.gone) return;
        this.bench.footprints.setLabel(id, value, revision);
        if (live?.stamp && this.bench.live.shown) this.bench.live.take(live);
        this.tellPage(revision);
      },
      (error) => {
        if (this.bench.gone) return;
        detail.label = before;
        this.undoStack = this.undoStack.filter((each) => each.answerId !== answerId);
        this.bench.footprints.setLabel(id, before?.value ?? null);
        this.bench.footprints.forgetLabel(id);
        if (this.selected?.id === id) this.bench.inspector.show(detail);
        this.bench.toast(`Answer on ${id} not taken: ${error.message}`, true, null, true);
      },
    );
  }

  tellPage(revision) {
    this.bench.root.dataset.saved = String(revision);
    this.revision = revision;
    if (this.telling) return;
    const since = Date.now() - (this.told ?? 0);
    this.telling = setTimeout(() => {
      [this.telling, this.told] = [null, Date.now()];
      if (!this.bench.gone) this.bench.setStateValue('revision', this.revision);
    }, Math.max(0, TELL_PAGE_MS - since));
  }

  /** Answers that an earlier page gave and could not send: they are sent now, and shown as given. */
  restored(entries) {
    for (const { shown } of entries) {
      for (const { id, value } of shown) {
        this.bench.footprints.setLabel(id, value);
        this.bench.inspector.unlearn(id);
      }
    }
  }

  /** The server's word on one of them. */
  late(entry, how, value) {
    if (this.bench.gone) return;
    for (const { id, value: label } of entry.shown) {
      if (how === 'taken') this.bench.footprints.setLabel(id, label, value.revision);
      else this.bench.footprints.forgetLabel(id);
      this.bench.inspector.unlearn(id);
    }
    if (how === 'taken') this.tellPage(value.revision);
    else {
      this.bench.footprints.load();
      this.bench.toast(`An answer on ${entry.shown[0]?.id} from before was not taken: ${value.message}`, true, null, true);
    }
  }

  flash(value) {
    const button = this.bench.inspector.buttons.get(value);
    button.classList.remove('flash');
    button.getBoundingClientRect(); // restarts the animation
    button.classList.add('flash');
  }
}

/** How a building came to be asked about; a blind one brings its own facts, without what others and the model say. */
function asked({ drawn, probability, why, blind, detail }) {
  return { drawn, probability, why, blind, given: blind ? detail : null };
}
