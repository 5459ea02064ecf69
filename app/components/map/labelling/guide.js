/** The labelling guide with examples from this very event, and the list of keys: sheets that Esc closes. */

import { h } from './dom.js';
import { GRADE_KEYS, MORE_KEYS, OTHER_KEYS } from './inspector.js';

export class Guide {
  constructor(root, bench) {
    this.root = root;
    this.bench = bench;
  }

  /** Fetched each time: what is labelled by now makes better examples. */
  async show() {
    let guide;
    try {
      guide = await this.bench.api.get('guide');
    } catch (error) {
      this.bench.toast(`The guide could not be read: ${error.message}`, true);
      return;
    }
    const { palette } = this.bench.data;
    const keys = Object.fromEntries(GRADE_KEYS.map(([key, value]) => [value, key]));
    const grade = ({ value, sentence, look, examples }) =>
      h('section', { class: 'wb-guide-grade' },
        h('div', {},
          h('h3', { style: { borderColor: palette[value].colour } }, palette[value].name, ' ', h('kbd', {}, keys[value])),
          h('p', {}, sentence),
          h('ul', {}, ...look.map((each) => h('li', {}, each)))),
        h('div', { class: 'wb-pairs' },
          ...examples.map((each) => this.pair(each)),
          examples.length ? null : h('p', { class: 'wb-muted' }, 'No example in this event yet.')));
    this.open('guide', 'How to grade a building',
      ...guide.grades.map(grade),
      h('section', { class: 'wb-guide-grade', style: { display: 'block' } },
        h('h3', { style: { borderLeft: '0', paddingLeft: '0' } }, 'Hard cases'),
        h('dl', { class: 'wb-guide-hard' }, ...guide.hard.flatMap(({ name, hint }) => [h('dt', {}, name), h('dd', {}, hint)]))));
  }

  pair({ id, text }) {
    const image = (role) => h('img', { src: this.bench.inspector.crops.url(id, role, 'close'), alt: `${role}-event crop of building ${id}` });
    return h('figure', { class: 'wb-pair' }, h('div', {}, image('pre'), image('post')), h('figcaption', {}, text));
  }

  showKeys() {
    const { palette } = this.bench.data;
    const answers = [...GRADE_KEYS, ...OTHER_KEYS].map(([key, value]) => [key, palette[value].name]);
    const rows = Array.from({ length: Math.max(answers.length, MORE_KEYS.length) }, (_, row) => [answers[row], MORE_KEYS[row]]).flat();
    this.open('keys', 'Keys', h('dl', { class: 'wb-keys' },
      ...rows.flatMap((row) => [h('dt', {}, row ? h('kbd', {}, row[0]) : ''), h('dd', {}, row ? row[1] : '')])));
  }

  open(kind, title, ...content) {
    this.root.querySelector('.wb-sheet')?.close();
    const close = () => sheet.close();
    const sheet = h('dialog', { class: `wb-sheet ${kind}`, 'aria-label': title, onkeydown: (event) => this.key(event, kind) },
      h('header', {}, h('h2', {}, title),
        kind === 'guide' ? h('button', { class: 'wb-ghost', type: 'button', onclick: () => window.print() }, 'Print') : null,
        h('button', { class: 'wb-ghost', type: 'button', autofocus: true, onclick: close }, h('kbd', {}, 'Esc'), ' Close')),
      h('div', { class: 'wb-sheet-body' }, ...content));
    sheet.addEventListener('close', () => sheet.remove());
    sheet.addEventListener('click', (event) => { if (event.target === sheet) close(); });
    this.root.append(sheet);
    sheet.showModal();
  }

  /** While a sheet is open no key reaches the buildings below; its own key closes it again. */
  key(event, kind) {
    event.stopPropagation();
    if (event.key === (kind === 'guide' ? 'g' : '?')) {
      event.preventDefault();
      this.root.querySelector('.wb-sheet')?.close();
    }
  }
}
