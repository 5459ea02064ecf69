/** What the colours mean, and which of the three colourings is shown. */

import { h } from './dom.js';

const MODES = ['result', 'probability', 'labels'];

export class Legend {
  constructor(root, onMode) {
    this.root = root;
    this.onMode = onMode;
    this.mode = 'result';
  }

  update(data) {
    this.data = data;
    if (!data.run_id) this.mode = 'labels';
    else if (this.run !== data.run_id) this.mode = 'result';
    if (this.run !== data.run_id) this.onMode(this.mode);
    this.run = data.run_id;
    this.draw();
  }

  draw() {
    const { palette, legend, ramp, model } = this.data;
    const names = { result: 'Result', probability: model.short, labels: 'Labels' };
    const modes = h('div', { class: 'wb-modes', role: 'group', 'aria-label': 'Colour footprints by' }, ...MODES.map((mode) =>
      h('button', {
        type: 'button', 'aria-pressed': String(mode === this.mode), disabled: !this.data.run_id && mode !== 'labels', dataset: { mode },
        onclick: () => { this.mode = mode; this.onMode(mode); this.draw(); },
      }, names[mode])));
    const swatch = (colour, name, kind = '') => h('li', {}, h('i', { class: kind, style: { background: colour } }), name);
    const heading = (text) => h('li', { class: 'wb-legend-head' }, text);
    const rows = [];
    if (this.mode === 'probability') {
      rows.push(h('li', { class: 'wb-ramp' },
        h('div', {}, ...ramp.map((colour) => h('i', { style: { background: colour } }))),
        h('div', { class: 'wb-ramp-ends' }, h('span', {}, model.low), h('span', {}, model.measure), h('span', {}, model.high))));
    } else if (this.mode === 'result') {
      rows.push(heading(model.heading), ...legend.result.map((value) => swatch(palette[value].colour, model.names[value] ?? palette[value].name)));
      rows.push(swatch('#fff', 'Dark rim: labelled', 'rim'));  // a label has the colour of its class here
    } else {
      rows.push(...legend.labels.map((value) => swatch(palette[value].colour, palette[value].name)));
      rows.push(swatch(palette.offset.colour, 'Other answer'));
      rows.push(swatch('', 'Not labelled', 'open'));
    }
    rows.push(swatch('rgba(141,150,160,.5)', 'Not assessed', 'dashed'));
    this.root.replaceChildren(modes, h('ul', {}, ...rows));
  }
}
