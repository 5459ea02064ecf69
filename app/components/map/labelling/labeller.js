/** Who is labelling? Asked once, before the first label. Lies in the browser: the page's script may run meanwhile. */

import { h } from './dom.js';

export class Labeller {
  constructor(bench) {
    this.bench = bench;
    this.done = false;
    this.given = null;
  }

  /** `name_limit`: the most letters of a name, where it is still to be asked for; else null. */
  update({ name_limit: limit }) {
    if (!limit) this.given = null; // the page knows
    else if (this.given) this.sign();
    else if (!this.done && !this.sheet) this.ask(limit);
  }

  ask(limit) {
    const field = h('input', { class: 'wb-name', type: 'text', maxlength: String(limit), autocomplete: 'name', autofocus: true });
    this.sheet = h('dialog', { class: 'wb-sheet naming', 'aria-label': 'Who is labelling?', onkeydown: (event) => event.stopPropagation() },
      h('form', { method: 'dialog' },
        h('h2', {}, 'Who is labelling?'),
        h('label', {}, 'Your name, kept with each label', field),
        h('div', { class: 'wb-foot' },
          h('button', { class: 'wb-ghost', type: 'button', onclick: () => this.sheet.close('unnamed') }, 'Without a name'),
          h('button', { type: 'submit', value: 'named' }, 'Start labelling'))));
    this.sheet.addEventListener('close', () => this.told(this.sheet.returnValue === 'named' ? field.value.trim() : ''));
    this.bench.root.append(this.sheet);
    this.sheet.showModal();
  }

  /** Labels carry the name at once; the page learns it for its next ones. */
  told(name) {
    this.done = true;
    this.sheet.remove();
    this.sheet = null;
    this.given = name || null;
    if (name) this.sign();
    this.bench.setStateValue('name', { text: name, at: Date.now() });
  }

  sign() {
    this.bench.data = { ...this.bench.data, labeller: this.given };
  }
}
