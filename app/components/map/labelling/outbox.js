/**
 * Answers on their way to the server. Each waits in the browser until the server has it, is sent again by itself, and has
 * an id, so that none is written twice. One outbox an event: it goes on sending when another event is looked at.
 */

import { AnswerStore } from './answer_store.js';

const GIVEN_UP_MS = 30_000; // a request that is not answered by then is sent again
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;
const REFUSED = [400, 405, 413, 422]; // the server has understood and will never take it
const KEEPALIVE_BYTES = 50_000; // browsers allow 64 KB of these at a time

const store = new AnswerStore();
const outboxes = new Map();
let number = 0;

export function outboxOf(api, data) {
  if (!outboxes.has(data.event_key)) outboxes.set(data.event_key, new Outbox(api, data));
  return outboxes.get(data.event_key);
}

/** No `crypto.randomUUID`: browsers have that on https and localhost only. */
export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

class Outbox {
  constructor(api, { event, event_key: key }) {
    this.api = api;
    this.event = event;
    this.key = key;
    this.waiting = [];
    this.elsewhere = []; // of other events, or of somebody else who signs in here
    this.trouble = null; // why the first one could not be sent, last time
    this.away = false; // the server does not answer
    this.onChange = () => {};
    this.promises = new Map();
    addEventListener('online', () => this.hurry());
    addEventListener('offline', () => this.setAway(true));
  }

  /** What an earlier page could not send, in front of what this one has given; `mine` says whose may be sent. */
  async restore(mine) {
    const kept = await store.all();
    const known = new Set(this.waiting.map((entry) => entry.answer_id));
    const left = kept.filter((entry) => !known.has(entry.answer_id));
    const here = left.filter((entry) => entry.key === this.key && mine(entry.body.labeller));
    this.elsewhere = left.filter((entry) => !here.includes(entry) && !outboxes.get(entry.key)?.has(entry));
    this.waiting.unshift(...here);
    this.onChange();
    this.run();
    return here;
  }

  has(entry) {
    return this.waiting.some((each) => each.answer_id === entry.answer_id);
  }

  /**
   * Keep an answer and send it when its turn comes. Resolves to what the server says, rejects where it refuses for good.
   * `shown`: the labels that the page shows for it meanwhile. `asked` gives what the page wants to know with the answer.
   */
  send(path, body, { shown = [], asked = () => ({}), id = newId() } = {}) {
    const entry = { answer_id: id, key: this.key, event: this.event, path, body: { ...body, answer_id: id }, shown, at: Date.now(), number: (number += 1) };
    const kept = store.keep(entry);
    this.waiting.push(entry);
    const sent = new Promise((taken, refused) => this.promises.set(id, { taken, refused, asked, kept }));
    this.onChange();
    this.run();
    return sent;
  }

  async run() {
    if (this.running) return;
    this.running = true;
    for (let pause = FIRST_PAUSE_MS; this.waiting.length; ) {
      const [entry] = this.waiting;
      try {
        const answer = await this.api.write(entry.path, { ...entry.body, ...this.promises.get(entry.answer_id)?.asked() }, GIVEN_UP_MS, KEEPALIVE_BYTES);
        pause = FIRST_PAUSE_MS;
        this.finish(entry, 'taken', answer);
      } catch (error) {
        if (REFUSED.includes(error.status)) this.finish(entry, 'refused', error);
        else {
          this.trouble = error;
          this.away = !error.status;
          this.onChange();
          await this.rest(pause);
          pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
        }
      }
    }
    this.running = false;
  }

  finish(entry, how, value) {
    this.waiting = this.waiting.filter((each) => each !== entry);
    [this.trouble, this.away] = [null, false];
    const promise = this.promises.get(entry.answer_id);
    this.promises.delete(entry.answer_id);
    Promise.resolve(promise?.kept).then(() => store.forget(entry));
    if (promise) promise[how](value);
    else this.onLate?.(entry, how, value);
    this.onChange();
  }

  rest(pause) {
    return new Promise((done) => {
      this.hurry = () => {
        clearTimeout(timer);
        done();
      };
      const timer = setTimeout(done, pause);
    });
  }

  /** Send now instead of after the pause. */
  hurry() {}

  /** Something else that asks the server has found it away, or back. */
  setAway(away) {
    if (this.away === away) return;
    this.away = away;
    this.onChange();
    if (!away) this.hurry();
  }
}
