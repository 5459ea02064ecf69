/** What has not been saved yet, and whether the server answers: one quiet line on the map that stays until all is well. */

import { h } from './dom.js';

const LET_PASS_MS = 700; // an answer takes some tens of milliseconds: nobody wants to read of each

export class Connection {
  constructor(bench) {
    this.bench = bench;
    this.text = h('span', {});
    this.button = h('button', { type: 'button', onclick: () => this.bench.outbox.hurry() }, 'Try now');
    this.root = h('div', { class: 'wb-over wb-connection', role: 'status', hidden: true }, this.text, this.button);
    bench.stage.append(this.root);
  }

  update() {
    const { outbox, stage } = this.bench;
    const { waiting, away, trouble } = outbox;
    stage.dataset.unsaved = String(waiting.length);
    document.body.classList.toggle('ds-away', away);
    clearTimeout(this.later);
    const age = waiting.length ? Date.now() - waiting[0].at : 0;
    if (waiting.length && !away && !trouble && age < LET_PASS_MS) {
      this.later = setTimeout(() => this.bench.gone || this.update(), LET_PASS_MS - age);
      return;
    }
    this.text.textContent = this.sentence();
    this.button.hidden = !away && !trouble;
    this.root.hidden = !this.text.textContent;
    this.root.classList.toggle('away', away || Boolean(trouble));
  }

  sentence() {
    const { waiting, away, trouble, elsewhere, key } = this.bench.outbox;
    const count = waiting.length;
    const unsaved = `${count.toLocaleString('en')} ${count === 1 ? 'answer' : 'answers'} not saved yet`;
    if (away && count) return `No connection to the server. ${unsaved}: kept in this browser, sent when it is back.`;
    if (away) return 'No connection to the server. Trying again by itself.';
    if (trouble && count) return `${unsaved}: ${trouble.message}. Sent again by itself.`;
    if (count) return `${unsaved}.`;
    const other = elsewhere[0];
    if (!other) return '';
    const several = `${elsewhere.length.toLocaleString('en')} ${elsewhere.length === 1 ? 'answer waits' : 'answers wait'} in this browser`;
    return other.key === key ? `${several} until ${other.body.labeller} signs in here.` : `${several}: open the event ${other.event} to send ${elsewhere.length === 1 ? 'it' : 'them'}.`;
  }
}
