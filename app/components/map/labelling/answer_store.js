/** Where answers wait in the browser: IndexedDB, which outlives the page; in private windows without it only the page. */

const NAME = 'damage_ssl';
const ANSWERS = 'answers';

export class AnswerStore {
  /** Every answer that is kept, in the order given. */
  async all() {
    const kept = await this.ask('readonly', (answers) => answers.getAll());
    return (kept ?? []).sort((one, other) => one.at - other.at || one.number - other.number);
  }

  keep(entry) {
    return this.ask('readwrite', (answers) => answers.put(entry));
  }

  forget(entry) {
    return this.ask('readwrite', (answers) => answers.delete(entry.answer_id));
  }

  async ask(mode, question) {
    try {
      const database = await (this.database ??= opened());
      const transaction = database.transaction(ANSWERS, mode, { durability: 'strict' });
      return await settled(question(transaction.objectStore(ANSWERS)));
    } catch {
      return null; // no such store here: the answers wait in the page, as long as it is open
    }
  }
}

function opened() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(ANSWERS, { keyPath: 'answer_id' });
  return settled(request);
}

function settled(request) {
  return new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}
