/** What lies over the map: find a building, adjust the picture, where the cursor is, an online map if one is configured. */

import { h, position } from './dom.js';

const KEPT = 'damage_ssl:display';
const SEARCH_MS = 150;
const PLAIN = { brightness: 1, contrast: 1 };
const SLIDERS = [['brightness', 'Brightness', 0.4, 2.2], ['contrast', 'Contrast', 0.4, 2.2]];

export class Controls {
  constructor(bench, L) {
    this.bench = bench;
    this.L = L;
    this.side = 'both';
    this.picture = { pre: { ...PLAIN }, post: { ...PLAIN } };
    this.fill = 1;
    this.restore();
    this.stage = bench.stage;
    this.button = this.stage.querySelector('.wb-display');
    this.panel = this.stage.querySelector('.wb-panel');
    this.place = this.stage.querySelector('.wb-place');
    this.build();
    this.button.addEventListener('click', () => this.open(this.panel.hidden));
    this.place.addEventListener('click', () => this.copy());
    for (const element of [this.panel, this.place]) {
      L.DomEvent.disableClickPropagation(element);
      L.DomEvent.disableScrollPropagation(element);
    }
    bench.views.onPicture = () => this.apply();
    this.watch(bench.map);
    this.apply();
  }

  watch(map) {
    map.on('mousemove', ({ latlng }) => {
      this.latlng = latlng;
      this.place.textContent = this.text();
      this.place.hidden = false;
    });
  }

  text() {
    return this.latlng ? position(this.latlng.lat, this.latlng.lng) : '';
  }

  /** The position under the cursor, into the clipboard. */
  async copy() {
    if (!this.latlng) return;
    try {
      await navigator.clipboard.writeText(this.text());
      this.bench.toast(`Copied: ${this.text()}`);
    } catch {
      this.bench.toast(`The browser does not let the app copy. The position is ${this.text()}`, true);
    }
  }

  open(open, focus = true) {
    this.panel.hidden = !open;
    this.button.setAttribute('aria-expanded', String(open));
    if (focus) (open ? this.find : this.button).focus();
  }

  build() {
    this.find = h('input', {
      type: 'text', class: 'wb-find', placeholder: 'Building id', 'aria-label': 'Go to a building by its id', autocomplete: 'off', spellcheck: 'false',
      role: 'combobox', 'aria-expanded': 'false', 'aria-controls': 'wb-found', 'aria-autocomplete': 'list', maxlength: '80',
      oninput: () => this.search(), onkeydown: (event) => this.findKey(event),
    });
    this.found = h('div', { class: 'wb-found', id: 'wb-found', role: 'listbox', 'aria-label': 'Buildings', hidden: true });
    this.said = h('p', { class: 'wb-said', role: 'status', hidden: true });
    this.sides = h('div', { class: 'wb-sides', role: 'group', 'aria-label': 'Which image' }, ...[['both', 'Both'], ['pre', 'Pre'], ['post', 'Post']].map(([side, name]) =>
      h('button', { type: 'button', dataset: { side }, onclick: () => { this.side = side; this.show(); } }, name)));
    this.sliders = SLIDERS.map(([name, title, min, max]) => this.slider(title, min, max, (value) => {
      for (const role of this.side === 'both' ? ['pre', 'post'] : [this.side]) this.picture[role][name] = value;
    }));
    this.filler = this.slider('Fill of footprints', 0, 1.6, (value) => { this.fill = value; });
    this.base = h('div', { class: 'wb-base' });
    this.panel.replaceChildren(
      h('div', { class: 'wb-panel-head' }, h('b', {}, 'Find and display'),
        h('button', { type: 'button', class: 'wb-close', 'aria-label': 'Close', onclick: () => this.open(false) }, '×')),
      this.find, this.found, this.said,
      h('div', { class: 'wb-panel-row' }, h('span', {}, 'Image'), this.sides),
      ...this.sliders.map((each) => each.row), this.filler.row, this.base,
      h('button', { type: 'button', class: 'wb-ghost', onclick: () => this.reset() }, 'As they are'));
    this.panel.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      this.open(false);
    });
    this.show();
  }

  slider(title, min, max, set) {
    const input = h('input', { type: 'range', min, max, step: 0.05, 'aria-label': title, oninput: () => { set(Number(input.value)); this.apply(); } });
    return { input, row: h('label', { class: 'wb-panel-row' }, h('span', {}, title), input) };
  }

  show() {
    const of = this.picture[this.side === 'post' ? 'post' : 'pre'];
    SLIDERS.forEach(([name], place) => { this.sliders[place].input.value = String(of[name]); });
    this.filler.input.value = String(this.fill);
    for (const button of this.sides.children) button.setAttribute('aria-pressed', String(button.dataset.side === this.side));
  }

  reset() {
    this.picture = { pre: { ...PLAIN }, post: { ...PLAIN } };
    this.fill = 1;
    this.show();
    this.apply();
  }

  apply() {
    for (const role of ['pre', 'post']) this.bench.views.setPicture(role, this.picture[role]);
    this.bench.footprints.setFillOpacity(this.fill);
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ picture: this.picture, fill: this.fill }));
    } catch {
      /* private mode: simply not kept */
    }
  }

  restore() {
    try {
      const { picture, fill } = JSON.parse(sessionStorage.getItem(KEPT));
      this.picture = { pre: { ...PLAIN, ...picture.pre }, post: { ...PLAIN, ...picture.post } };
      this.fill = Number(fill);
    } catch {
      /* nothing was kept */
    }
  }

  /** Ids that begin with what is typed; Enter goes to the marked or the only one. */
  search() {
    clearTimeout(this.searching);
    this.said.hidden = true;
    this.searching = setTimeout(() => this.ask(), SEARCH_MS);
  }

  async ask() {
    const begin = this.find.value.trim();
    let answer = { ids: [], count: 0 };
    try {
      if (begin) answer = await this.bench.api.get('ids', { begin });
    } catch (error) {
      this.say(`The ids could not be searched: ${error.message}`);
    }
    if (begin !== this.find.value.trim()) return [];
    this.found.replaceChildren(...answer.ids.map((id, place) => h('div', {
      role: 'option', id: `wb-found-${place}`, 'aria-selected': 'false', onclick: () => this.goTo(id),
    }, id)));
    this.mark(-1);
    this.found.hidden = answer.ids.length === 0;
    this.find.setAttribute('aria-expanded', String(!this.found.hidden));
    if (begin && answer.count === 0) this.say(`No building id begins with “${begin}”.`);
    else if (answer.count > answer.ids.length) this.say(`${answer.count.toLocaleString('en')} ids begin so; the first ${answer.ids.length} are shown.`);
    return answer.ids;
  }

  async findKey(event) {
    event.stopPropagation();
    const options = [...this.found.children];
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      if (options.length) this.mark((this.marked + (event.key === 'ArrowDown' ? 1 : -1) + options.length) % options.length);
    } else if (event.key === 'Escape') this.open(false);
    else if (event.key === 'Enter') {
      clearTimeout(this.searching);
      const ids = this.marked >= 0 ? [options[this.marked].textContent] : await this.ask();
      const typed = this.find.value.trim().toLowerCase();
      if (ids.length === 1 || ids[0]?.toLowerCase() === typed) this.goTo(ids[0]);
    }
  }

  mark(place) {
    this.marked = place;
    [...this.found.children].forEach((option, row) => option.setAttribute('aria-selected', String(row === place)));
    if (place >= 0) this.find.setAttribute('aria-activedescendant', `wb-found-${place}`);
    else this.find.removeAttribute('aria-activedescendant');
  }

  say(text) {
    this.said.textContent = text;
    this.said.hidden = false;
  }

  goTo(id) {
    this.found.hidden = true;
    this.find.setAttribute('aria-expanded', 'false');
    this.find.value = id;
    this.open(false);
    this.bench.goTo(id);
  }

  /** The online map exists only where one is configured; nothing is asked of its server before it is switched on. */
  update({ basemap }) {
    if (!basemap || this.base.childElementCount) return;
    const owed = h('div', { class: 'wb-over wb-owed', hidden: true }, basemap.attribution);
    this.stage.append(owed);
    const box = h('input', {
      type: 'checkbox', onchange: () => {
        owed.hidden = !box.checked;
        this.layer ??= this.L.tileLayer(basemap.url, { pane: 'basemap', className: 'wb-basemap', maxNativeZoom: basemap.max_zoom, maxZoom: this.bench.map.getMaxZoom() });
        if (!this.bench.map.getPane('basemap')) this.bench.map.createPane('basemap').style.zIndex = 205;
        if (box.checked) this.layer.addTo(this.bench.map);
        else this.layer.remove();
      },
    });
    this.base.append(h('label', { class: 'wb-panel-row' }, h('span', {}, 'Online map below'), box));
  }
}
