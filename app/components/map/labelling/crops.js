/** The two pictures of the selected building with its outline, and whether they have been on the screen. */

import { h, svg } from './dom.js';

const USUAL_PX = 500; // the height of a crop, see app/crops.py
const DECODED = 16;
const LEAST_SEEN_MS = 150; // nobody compares two pictures in less; keys that come sooner were meant for the building before

export class Crops {
  /** `root`: the inspector, whose `data-seen` names the building whose pictures have been seen. */
  constructor(root, api) {
    this.root = root;
    this.api = api;
    this.view = 'close';
    this.decoded = new Map();
    this.sides = Object.fromEntries(['pre', 'post'].map((role) => [role, this.crop(role)]));
    this.element = h('div', { class: 'wb-crops' }, this.sides.pre.figure, this.sides.post.figure);
  }

  crop(role) {
    const image = h('img', { alt: `${role}-event crop of the selected building`, draggable: 'false', fetchpriority: 'high' });
    const outline = svg('svg', { viewBox: '0 0 760 1000', preserveAspectRatio: 'none' });
    const date = h('span', { class: 'wb-date' });
    const missing = h('div', { class: 'wb-missing' });
    const coming = h('div', { class: 'wb-coming', role: 'status' });
    const bar = h('span', { class: 'wb-bar' });
    const frame = h('div', { class: 'wb-frame' }, image, outline, missing, coming, bar);
    const figure = h('figure', { class: `wb-crop ${role}` }, h('figcaption', {}, h('b', {}, role === 'pre' ? 'Pre' : 'Post'), date), frame);
    image.addEventListener('error', () => {
      figure.classList.add('failed');
      coming.textContent = 'The picture has not come yet. Trying again …';
    });
    image.addEventListener('load', () => {
      figure.classList.remove('failed', 'loading');
      coming.textContent = '';
      this.look();
    });
    return { figure, image, outline, date, missing, coming, bar };
  }

  show(detail) {
    this.detail = detail;
    for (const role of ['pre', 'post']) this.showSide(role, detail);
    this.look();
  }

  forget() {
    this.detail = null;
    delete this.root.dataset.seen;
  }

  showSide(role, detail) {
    const crop = this.sides[role];
    const side = detail[role];
    crop.date.textContent = this.data.dates[role].of?.[side?.scene] ?? this.data.dates[role].text;
    crop.missing.textContent = side ? '' : `No ${role} imagery here`;
    crop.image.hidden = !side;
    if (!side) {
      crop.figure.classList.remove('failed', 'loading');
      crop.coming.textContent = '';
    }
    if (side) {
      const url = this.url(detail.id, role);
      if (crop.image.src !== url) {
        crop.image.src = url;
        crop.figure.classList.remove('failed');
        crop.figure.classList.toggle('loading', !crop.image.complete); // never the picture of another building
        crop.coming.textContent = crop.image.complete ? '' : 'Loading …';
      }
    }
    const geometry = detail.views[this.view];
    crop.outline.replaceChildren(...geometry.outline.flatMap((ring) => {
      const points = ring.map(([x, y]) => `${(x * 760).toFixed(1)},${(y * 1000).toFixed(1)}`).join(' ');
      return ['casing', 'line'].map((name) => svg('polygon', { points, class: name, 'vector-effect': 'non-scaling-stroke' }));
    }));
    const bar = this.view === 'close' ? 10 : 30;
    crop.bar.textContent = `${bar} m`;
    crop.bar.style.width = `${(100 * bar) / geometry.width_m}%`;
  }

  /** An answer counts once both pictures of the building have been on the screen long enough to be looked at. */
  isSeen(id) {
    return this.root.dataset.seen === id;
  }

  /** Another building, or a picture that has come: after the frame that shows both, and a moment, it has been seen. */
  look() {
    const { id } = this.detail ?? {};
    if (!id || this.isSeen(id)) return;
    delete this.root.dataset.seen;
    clearTimeout(this.looking);
    const shown = () => this.detail?.id === id && ['pre', 'post'].every((role) => {
      const { image } = this.sides[role];
      return !this.detail[role] || (image.complete && image.naturalWidth > 0);
    });
    if (!shown()) return;
    requestAnimationFrame(() => requestAnimationFrame(() => {
      clearTimeout(this.looking);
      this.looking = setTimeout(() => { if (shown()) this.root.dataset.seen = id; }, LEAST_SEEN_MS);
    }));
  }

  /** Ask again for a picture that did not come. */
  retry() {
    for (const { figure, image } of Object.values(this.sides)) {
      if (figure.classList.contains('failed') && !image.hidden) image.src = image.src; // eslint-disable-line no-self-assign
    }
  }

  /** Load and decode a building's crops before they are wanted, so that they show in the frame after the key. */
  preload(detail) {
    for (const role of ['pre', 'post'].filter((each) => detail[each])) {
      const url = this.url(detail.id, role);
      if (this.decoded.has(url)) continue;
      const image = new Image();
      image.fetchPriority = 'high'; // ahead of map tiles, of which a browser asks for six at a time
      image.src = url;
      image.decode().catch(() => this.decoded.delete(url));
      this.decoded.set(url, image); // a picture that nobody holds is forgotten
      if (this.decoded.size > DECODED) this.decoded.delete(this.decoded.keys().next().value);
    }
  }

  url(id, role, view = this.view) {
    return this.api.url(`crop/${role}`, { id, view, size: this.size, v: this.data?.stamp });
  }

  /** 2: pictures of twice the pixels a side, where the screen shows more than those of the usual size have. */
  get size() {
    const shown = this.root.closest('.wb')?.classList.contains('large') ? this.sides.pre.image.parentElement.clientHeight * devicePixelRatio : 0;
    return shown > USUAL_PX * 1.15 ? 2 : 1;
  }
}
