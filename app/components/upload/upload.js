/** Sends files to the inbox, one after the other, in pieces: a refusal arrives in time, and a broken line costs a piece. */

const PIECE_BYTES = 16 * 2 ** 20;
const TRIES = 4;
const boxes = new WeakMap();

export default function ({ parentElement, data, setTriggerValue }) {
  const root = parentElement.querySelector('.up');
  let box = boxes.get(root);
  if (!box) {
    box = new UploadBox(root);
    boxes.set(root, box);
  }
  // All that arrived on this page, each time: of two words in quick succession Streamlit passes on only the last.
  box.tell = (name) => setTriggerValue('done', (box.done = [...box.done, { name, at: Date.now() }]));
  box.update(data);
}

class UploadBox {
  constructor(root) {
    this.rows = [];
    this.done = [];
    this.input = h('input', { type: 'file', multiple: true, id: 'up-input', 'aria-describedby': 'up-hint' });
    this.hint = h('p', { class: 'up-hint', id: 'up-hint' });
    this.drop = h('div', { class: 'up-drop' },
      this.input,
      h('label', { for: 'up-input' }, h('b', {}, 'Choose files'), ' or drop them here'),
      this.hint);
    this.list = h('ul', { class: 'up-list', 'aria-live': 'polite' });
    root.replaceChildren(this.drop, this.list);
    this.input.addEventListener('change', () => {
      this.add([...this.input.files]);
      this.input.value = '';
    });
    for (const name of ['dragenter', 'dragover']) {
      this.drop.addEventListener(name, (event) => {
        event.preventDefault();
        this.drop.classList.add('over');
      });
    }
    this.drop.addEventListener('dragleave', () => this.drop.classList.remove('over'));
    this.drop.addEventListener('drop', (event) => {
      event.preventDefault();
      this.drop.classList.remove('over');
      this.add([...event.dataTransfer.files]);
    });
    addEventListener('beforeunload', (event) => {
      if (this.rows.some((row) => row.busy)) event.preventDefault();
    });
  }

  update(data) {
    this.data = data;
    this.hint.textContent = `GeoTIFF, JPEG 2000 · GeoJSON, GeoPackage, zipped shapefile … · up to ${size(data.limit_bytes)} each`
      + ` · ${size(data.free_bytes)} free`;
    const known = new Set(this.rows.map((row) => row.key));
    for (const partial of data.partials) if (!known.has(partial.key)) this.rows.push(new Row(this, partial));
    const left = new Set(data.partials.map((partial) => partial.key));
    this.rows = this.rows.filter((row) => row.file || left.has(row.key));
    this.show();
  }

  add(files) {
    for (const file of files) {
      const key = keyOf(file);
      const there = this.rows.find((row) => row.key === key);
      if (there?.busy) continue;
      this.rows = this.rows.filter((row) => row !== there);
      this.rows.push(new Row(this, { name: file.name, key }, file));
    }
    this.show();
    this.work();
  }

  show() {
    this.list.replaceChildren(...this.rows.map((row) => row.element));
  }

  remove(row) {
    this.rows = this.rows.filter((each) => each !== row);
    this.show();
  }

  /** One file at a time: two would only share the line. */
  async work() {
    if (this.working) return;
    this.working = true;
    try {
      for (let row; (row = this.rows.find((each) => each.waiting));) await row.send();
    } finally {
      this.working = false;
    }
  }
}

class Row {
  constructor(box, { name, key, received = 0 }, file = null) {
    Object.assign(this, { box, name, key, file, received, waiting: Boolean(file), busy: false });
    this.text = h('span', { class: 'up-text' });
    this.bar = h('i');
    this.track = h('div', { class: 'up-track', role: 'progressbar', 'aria-label': `Upload of ${name}`, 'aria-valuemin': 0, 'aria-valuemax': 100 }, this.bar);
    this.again = h('button', { type: 'button', hidden: true, onclick: () => this.goOn() }, 'Go on');
    this.again.setAttribute('aria-label', `Go on with ${name}`);
    this.stop = h('button', { type: 'button', onclick: () => this.cancel() });
    this.offer(file ? 'Cancel' : 'Delete');
    this.element = h('li', { class: 'up-row' }, h('b', {}, name), this.text, this.track, this.again, this.stop);
    if (file) this.say('waiting', 0);
    else this.say(`${size(received)} of it are here; choose the same file again to go on`);
  }

  say(text, share = null, kind = '') {
    this.text.textContent = text;
    this.track.hidden = share === null;
    this.element.className = `up-row ${kind}`;
    if (share === null) return;
    this.bar.style.width = `${100 * share}%`;
    this.track.setAttribute('aria-valuenow', String(Math.round(100 * share)));
  }

  /** What the button does now; its name for screen readers says of which file. */
  offer(text) {
    this.stop.textContent = text;
    this.stop.setAttribute('aria-label', `${text} ${this.name}`);
  }

  fail(text) {
    this.say(text.replace(`${this.name}: `, ''), null, 'bad');
    this.offer('Remove');
  }

  url(extra = {}) {
    const url = new URL(`ds/-/uploads/${encodeURIComponent(this.name)}`, document.baseURI);
    for (const [name, value] of Object.entries({ key: this.key, ...extra })) url.searchParams.set(name, value);
    return url.href;
  }

  async send() {
    this.waiting = false;
    const problem = this.problem();
    if (problem) return this.fail(problem);
    this.busy = true;
    this.again.hidden = true;
    try {
      const state = await ask('GET', this.url());
      if (state.taken) throw new Refusal(`a file of the name ${state.name} is there already: choose it below, delete it there, or rename yours`);
      this.received = Math.min(state.received, this.file.size);
      this.begun = { time: performance.now(), received: this.received };
      while (this.received < this.file.size) await this.sendPiece();
    } catch (error) {
      this.busy = false;
      if (this.cancelled) return;
      if (error instanceof Refusal) this.fail(error.message);
      else {
        this.say('The connection was lost; what arrived is kept', this.received / this.file.size, 'bad');
        this.again.hidden = false;
      }
      return;
    }
    this.busy = false;
    this.say(`${size(this.file.size)} · complete`, null, 'good');
    this.offer('Hide');
    this.box.tell(this.name_there ?? this.name);
  }

  problem() {
    const { limit_bytes: limit, free_bytes: free, endings } = this.box.data;
    const name = this.name.toLowerCase();
    if (!endings.some((ending) => name.endsWith(ending))) {
      return name.endsWith('.shp') ? 'a shapefile is several files: zip them, and choose the zip file' : 'files of this kind cannot be used here';
    }
    if (this.file.size === 0) return 'the file is empty';
    if (this.file.size > limit) return `${size(this.file.size)}, but up to ${size(limit)} can be uploaded; have it copied into the inbox folder on the server`;
    if (this.file.size > free) return `${size(this.file.size)}, but the server's disk has room for ${size(free)}`;
    return null;
  }

  async sendPiece() {
    for (let attempt = 1; ; attempt += 1) {
      const offset = this.received;
      const piece = this.file.slice(offset, offset + PIECE_BYTES);
      try {
        const answer = await ask('PUT', this.url({ size: this.file.size, offset }), piece, (sent) => this.progress(offset + sent), (request) => { this.request = request; });
        this.received = answer.received;
        this.name_there = answer.name;
        this.progress(this.received);
        return;
      } catch (error) {
        if (error instanceof Refusal || this.cancelled || attempt >= TRIES) throw error;
        await new Promise((go) => setTimeout(go, 500 * 2 ** attempt));
        const state = await ask('GET', this.url()).catch(() => null);
        if (state) this.received = state.received;
      }
    }
  }

  progress(received) {
    const seconds = (performance.now() - this.begun.time) / 1000;
    const pace = (received - this.begun.received) / seconds;
    const left = seconds > 1 && pace > 0 ? ` · ${duration((this.file.size - received) / pace)} left` : '';
    this.say(`${size(received)} of ${size(this.file.size)}${left}`, received / this.file.size);
  }

  goOn() {
    this.waiting = true;
    this.again.hidden = true;
    this.box.work();
  }

  async cancel() {
    this.cancelled = true;
    this.waiting = false;
    this.request?.abort();
    this.box.remove(this);
    if (this.text.parentElement.classList.contains('good')) return;
    await ask('DELETE', this.url()).catch(() => null);
  }
}

class Refusal extends Error {}

function ask(method, url, body = null, onprogress = null, began = null) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    began?.(request);
    request.open(method, url);
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    if (onprogress) request.upload.onprogress = (event) => onprogress(event.loaded);
    request.onload = () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText || '{}');
      } catch { /* not ours: told by its number below */ }
      if (request.status < 300) done(answer);
      else failed(new Refusal(answer.error ?? `the server refused it (${request.status})`));
    };
    request.onerror = () => failed(new Error('connection'));
    request.onabort = () => failed(new Error('aborted'));
    request.send(body);
  });
}

/** The same file gets the same key, so that an upload can be gone on with after a reload. */
function keyOf({ name, size: bytes, lastModified }) {
  const text = `${name}|${bytes}|${lastModified}`;
  let [one, two] = [0xdeadbeef, 0x41c6ce57];
  for (let at = 0; at < text.length; at += 1) {
    one = Math.imul(one ^ text.charCodeAt(at), 2654435761);
    two = Math.imul(two ^ text.charCodeAt(at), 1597334677);
  }
  return (one >>> 0).toString(16).padStart(8, '0') + (two >>> 0).toString(16).padStart(8, '0');
}

function size(bytes) {
  const [value, unit] = bytes >= 1e9 ? [bytes / 1e9, 'GB'] : bytes >= 1e6 ? [bytes / 1e6, 'MB'] : [bytes / 1e3, 'kB'];
  return `${value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${unit}`;
}

const duration = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`);

function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name === 'class' ? 'class' : name, value === true ? '' : value);
  }
  element.append(...children);
  return element;
}
