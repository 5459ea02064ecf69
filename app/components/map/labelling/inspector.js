/** The selected building: its two crops with the outline, what is known of it, and the answers one can give. */

import { Crops } from './crops.js';
import { h, percent, position } from './dom.js';
import { keepVerdictFirst, verdictFirst } from './verdict_first.js';

export const GRADE_KEYS = [
  ['1', 'no-damage'],
  ['2', 'minor-damage'],
  ['3', 'major-damage'],
  ['4', 'destroyed'],
];
export const OTHER_KEYS = [
  ['U', 'unclear'],
  ['B', 'bad-imagery'],
  ['O', 'offset'],
  ['N', 'not-a-building'],
];

/** What else the keyboard does, for the list that `?` shows. */
export const MORE_KEYS = [
  ['→', 'Next building'],
  ['←', 'Back to the building before'],
  ['Z', 'Undo'],
  ['C', 'Comment'],
  ['W', 'Wider or closer view'],
  ['L', 'Large pictures'],
  ['H', 'Hide or show the outline'],
  ['F', 'Flicker pre and post; again: the other one'],
  ['Shift', 'and drag: choose several; and arrows: move the map'],
  ['+ −', 'Zoom'],
  ['/', 'Find a building, brightness, contrast'],
  ['P', 'Copy the position under the cursor'],
  ['T', 'Label by tiles; Esc: back'],
  ['G', 'Labelling guide'],
  ['Esc', 'Close'],
  ['?', 'These keys'],
];

const KEPT = 300;

export class Inspector {
  constructor(root, api, { history, ...actions }) {
    this.root = root;
    this.api = api;
    this.history = history;
    this.asked = {};
    this.detail = null;
    this.known = new Map();
    this.build(actions);
  }

  build({ onLabel, onUndo, onNext, onPrevious, onZoom, onClose, onComment, onGuide, onKeys, onLarge, onVeil, onTiles }) {
    this.onLarge = onLarge;
    this.onVeil = onVeil;
    this.title = h('div', { class: 'wb-id', title: 'Building id; click to centre the map on it', role: 'button', tabindex: '0', onclick: onZoom });
    this.state = h('div', { class: 'wb-state' });
    this.crops = new Crops(this.root, this.api);
    this.viewButton = h('button', { class: 'wb-ghost', type: 'button', title: 'Key W', onclick: () => this.toggleView() });
    this.largeButton = h('button', { class: 'wb-ghost', type: 'button', title: 'Key L', 'aria-pressed': 'false', onclick: () => this.toggleLarge() }, h('kbd', {}, 'L'), ' Large');
    this.commentField = h('input', {
      class: 'wb-comment', type: 'text', maxlength: '500', placeholder: 'Comment (C)', 'aria-label': 'Comment on this building',
      onkeydown: (event) => {
        event.stopPropagation(); // letters typed here are no answers
        if (event.key === 'Enter' || event.key === 'Escape') this.commentField.blur();
      },
      onchange: onComment,
    });
    this.said = h('div', { class: 'wb-said' }); // what somebody else remarked
    this.facts = h('dl', { class: 'wb-facts' });
    this.model = h('div', { class: 'wb-model' });
    this.why = h('div', { class: 'wb-why', role: 'note' });
    this.buttons = new Map();
    const button = (kind) => ([key, value]) => {
      const element = h('button', { class: `wb-answer ${kind}`, type: 'button', dataset: { value }, onclick: () => onLabel(value) },
        h('kbd', {}, key), h('span', { class: 'wb-answer-name' }));
      this.buttons.set(value, element);
      return element;
    };
    this.undoButton = h('button', { class: 'wb-ghost', type: 'button', onclick: onUndo }, h('kbd', {}, 'Z'), ' Undo');
    this.nextButton = h('button', { class: 'wb-ghost wb-skip', type: 'button', onclick: onNext });
    this.previousButton = h('button', { class: 'wb-ghost', type: 'button', title: 'Back to the building before', onclick: onPrevious }, h('kbd', {}, '←'), ' Back');
    this.tally = h('div', { class: 'wb-tally' });
    this.body = h('div', { class: 'wb-body' },
      h('div', { class: 'wb-head' }, this.title, this.state,
        this.largeButton,
        h('button', { class: 'wb-close', type: 'button', title: 'Close (Esc)', 'aria-label': 'Close', onclick: onClose }, '×')),
      this.crops.element,
      h('div', { class: 'wb-under' }, this.model, this.viewButton),
      this.why,
      h('div', { class: 'wb-question' }, 'What does the post image show?'),
      h('div', { class: 'wb-grades' }, ...GRADE_KEYS.map(button('grade'))),
      h('div', { class: 'wb-others' }, ...OTHER_KEYS.map(button('other'))),
      this.said, this.commentField,
      h('div', { class: 'wb-steps' }, this.previousButton, this.undoButton, this.nextButton),
      h('div', { class: 'wb-help' },
        h('button', { class: 'wb-link', type: 'button', onclick: onGuide }, 'Guide ', h('kbd', {}, 'G')),
        h('button', { class: 'wb-link wb-to-tiles', type: 'button', onclick: onTiles }, 'By tiles ', h('kbd', {}, 'T')),
        h('button', { class: 'wb-link', type: 'button', onclick: onKeys }, 'All keys ', h('kbd', {}, '?'))),
      this.facts, this.history.root, this.tally);
    this.empty = h('div', { class: 'wb-empty' },
      h('strong', {}, 'No building selected'),
      h('p', {}, 'Click a footprint on the map, or take the next building of the queue.'),
      h('button', { class: 'wb-next', type: 'button', onclick: onNext }, 'Next building ', h('kbd', {}, '→')),
      h('button', { class: 'wb-link', type: 'button', onclick: onGuide }, 'Labelling guide ', h('kbd', {}, 'G')));
    this.root.replaceChildren(this.empty, this.body);
    this.body.hidden = true;
    this.showView();
  }

  update(data) {
    this.data = data;
    this.crops.data = data;
    for (const [value, button] of this.buttons) {
      const entry = data.palette[value];
      button.style.setProperty('--colour', entry.colour);
      button.querySelector('.wb-answer-name').textContent = entry.name;
      button.title = entry.help ?? '';
    }
    if (this.detail) this.show(this.detail);
  }

  /** The facts of a building, asked for once. */
  fetch(id, run, blind = false) {
    if (blind) return this.api.get('building', { id, run, blind: 1 }); // what must not be shown is not here either
    const key = this.key(id, run);
    if (!this.known.has(key)) {
      const detail = this.api.get('building', { id, run });
      detail.catch(() => this.known.delete(key));
      this.remember(key, detail);
    }
    return this.known.get(key);
  }

  /** Keep facts that came with the queue. */
  learn(detail, run) {
    this.remember(this.key(detail.id, run), Promise.resolve(detail));
  }

  /** Facts are those of one run on one state of the event: pairs may be cut again. */
  key(id, run) {
    return [id, run ?? '', this.data?.stamp ?? ''].join('\n');
  }

  remember(key, detail) {
    this.known.set(key, detail);
    if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
  }

  /** A building's facts changed: ask for them again. */
  unlearn(id) {
    for (const key of this.known.keys()) if (key.startsWith(`${id}\n`)) this.known.delete(key);
  }

  /** `asked`: `why` the building is asked about, and `blind` where verdicts are hidden until it is answered. */
  show(detail, asked = detail.id === this.detail?.id ? this.asked : {}) {
    this.detail = detail;
    this.asked = asked;
    const { label } = detail;
    if (this.commentOf !== detail.id) {
      this.commentOf = detail.id;
      this.commentField.value = this.isOwn(label) ? label.comment ?? '' : '';
    }
    this.said.textContent = label?.comment && !this.isOwn(label) ? `${label.labeller}: ${label.comment}` : '';
    this.why.textContent = asked.why ?? '';
    this.history.show(detail.id, { ...asked, blind: asked.blind || this.isVeiled(detail) });
    this.empty.hidden = true;
    this.body.hidden = false;
    this.root.dataset.building = detail.id;
    this.title.textContent = detail.id;
    this.showState(label);
    this.crops.show(detail);
    this.showModel(detail);
    const facts = [
      ['Damaged by the images alone', this.asked.blind || this.isVeiled(detail) ? null : this.imagesAlone(detail)],
      ['Footprint', detail.area_m2 === null ? null : `${Math.round(detail.area_m2)} m²`],
      ['Outline is a building', detail.confidence === null ? null : `${percent(detail.confidence)} sure`],
      ['Outline moved by', detail.outline_shift],
      ['Post image shifted by', detail.shift],
      ['Match of the two dates', detail.match],
      ['Pre picture', detail.pre?.quality],
      ['Post picture', detail.post?.quality],
      ['Position', this.place(detail)],
    ];
    this.facts.replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));
  }

  /** Where it is: a click copies it, and whoever has a map program opens it there. */
  place({ lat, lon }) {
    const text = position(lat, lon);
    return h('span', { class: 'wb-position' },
      h('button', { class: 'wb-link', type: 'button', title: 'Copy', onclick: () => navigator.clipboard?.writeText(text) }, text), ' ',
      h('a', { href: `geo:${lat.toFixed(6)},${lon.toFixed(6)}`, title: 'Open in a map program of this device' }, 'geo:'));
  }

  hide() {
    this.detail = null;
    this.empty.hidden = false;
    this.body.hidden = true;
    delete this.root.dataset.building;
    this.crops.forget();
  }

  showState(label) {
    const entry = label ? this.data.palette[label.value] : null;
    this.state.textContent = entry ? `${entry.name} · ${label.labeller}` : 'Not labelled yet';
    this.state.style.setProperty('--colour', entry ? entry.colour : 'transparent');
    this.state.classList.toggle('on', Boolean(entry));
    for (const [value, button] of this.buttons) button.classList.toggle('on', label?.value === value);
    this.nextButton.replaceChildren(label ? 'Next ' : 'Skip ', h('kbd', {}, '→'));
  }

  /** The model's verdict waits for one's own answer, so that nobody says what the model says; a switch shows it before. */
  isVeiled(detail) {
    return this.data.step === 'label' && this.data.may_write !== false && !detail.label && detail.p !== null && !verdictFirst();
  }

  veil(on) {
    keepVerdictFirst(!on);
    if (!this.detail) return;
    this.show(this.detail);
    this.onVeil();
  }

  /** What the images say without neighbours and places of labels; the live model's with the next look. */
  imagesAlone(detail) {
    return detail.p_image === null || detail.p_image === undefined ? null : percent(detail.p_image);
  }

  showModel(detail) {
    if (!this.asked.blind && this.isVeiled(detail)) {
      this.model.title = '';
      this.model.replaceChildren(h('span', { class: 'wb-muted' }, "The model's verdict: after your answer "),
        h('button', { class: 'wb-link', type: 'button', title: 'People tend to say what the model says', onclick: () => this.veil(false) }, 'Show before'));
      return;
    }
    if (this.asked.blind) {
      this.model.replaceChildren(h('span', { class: 'wb-muted' }, "The model's verdict is hidden until you answer"));
      return;
    }
    const p = this.live?.probability(detail.id) ?? detail.p;
    if (p === null) {
      this.model.replaceChildren(h('span', { class: 'wb-muted' },
        detail.assessed ? 'No prediction yet' : `Not assessed: ${detail.reason_text}`));
      return;
    }
    const fill = h('i', {});
    fill.style.width = `${p * 100}%`;
    const who = this.data.run_id === 'live' ? 'Live model' : 'Model';
    const said = this.data.model.caution ? `Change score: ${p.toFixed(2)}` : `${who}: ${percent(p)} damaged`;
    this.model.title = this.data.model.caution;
    const hide = this.data.step === 'label' && verdictFirst()
      ? h('button', { class: 'wb-link', type: 'button', onclick: () => this.veil(true) }, 'Hide until I answer') : null;
    this.model.replaceChildren(h('span', {}, said, ' '), ...(hide ? [hide] : []), h('div', { class: 'wb-meter' }, fill));
  }

  /** The live model has learned from another label. */
  refreshModel() {
    if (this.detail) this.showModel(this.detail);
  }

  isOwn(label) {
    return label?.labeller === this.data.labeller;
  }

  comment() {
    return this.commentField.value.trim();
  }

  writeComment() {
    if (this.detail) this.commentField.focus();
  }

  /** Two big pictures over the whole map, for going through a queue. */
  toggleLarge(on = !this.bench.classList.contains('large')) {
    this.bench.classList.toggle('large', on);
    this.largeButton.setAttribute('aria-pressed', String(on));
    this.largeButton.replaceChildren(h('kbd', {}, 'L'), on ? ' Back to the map' : ' Large');
    if (!this.detail) return;
    this.crops.show(this.detail);
    this.onLarge();
  }

  get bench() {
    return this.root.closest('.wb');
  }

  toggleOutline() {
    this.root.classList.toggle('bare');
  }

  toggleView() {
    this.crops.view = this.crops.view === 'close' ? 'wide' : 'close';
    this.showView();
    if (this.detail) this.crops.show(this.detail);
  }

  showView() {
    this.viewButton.replaceChildren(h('kbd', {}, 'W'), this.crops.view === 'close' ? ' Wider view' : ' Closer view');
  }

  setTally(text) {
    this.tally.textContent = text;
  }
}
