/** What other analysts do: their labels appear on this page within seconds, without a movement of the map. */

const EVERY_MS = 3000;
const TELL_PAGE_EVERY_MS = 10_000;
const LONGEST_MS = 10_000;

export class LabelFeed {
  constructor(bench) {
    this.bench = bench;
    this.revision = null; // of the labels that this page shows, the oldest of what it has fetched
    this.told = 0;
    this.onVisible = () => document.hidden || this.beat();
    document.addEventListener('visibilitychange', this.onVisible);
    this.timer = setInterval(() => this.beat(), EVERY_MS);
    this.beat(); // what is fetched from now on is no older than the answer
  }

  stop() {
    clearInterval(this.timer);
    clearTimeout(this.telling);
    document.removeEventListener('visibilitychange', this.onVisible);
  }

  async beat() {
    if (document.hidden || this.asking || this.bench.gone) return;
    this.asking = true;
    try {
      const since = this.revision;
      const answer = await this.bench.api.get('pulse', { since }, AbortSignal.timeout(LONGEST_MS));
      if (this.bench.gone) return;
      this.bench.outbox.setAway(false);
      this.bench.inspector.crops.retry();
      this.revision = this.revision === since ? answer.revision : Math.min(this.revision, answer.revision);
      this.take(answer);
      this.bench.live.retry();
    } catch (error) {
      if (!error.status && !this.bench.gone) this.bench.outbox.setAway(true); // asked again soon
    } finally {
      this.asking = false;
    }
  }

  /** The map shows the labels of this revision: newer ones are still to be asked for. */
  shown(revision) {
    this.revision = Math.min(this.revision ?? revision, revision);
  }

  take({ revision, changed, many }) {
    const { footprints, inspector, data } = this.bench;
    if (many) {
      inspector.known.clear();
      footprints.load();
      return;
    }
    // An answer of this page that is still on its way is newer than what the server knows.
    const news = changed.filter(({ id }) => footprints.labels.get(id)?.revision !== Infinity);
    if (!news.length) return;
    footprints.setLabels(news, revision);
    const others = news.filter(({ labeller }) => labeller !== data.labeller);
    if (!others.length) return;
    for (const { id } of others) inspector.unlearn(id);
    this.showIn(inspector, others);
    this.bench.live.refresh();
    this.bench.root.dataset.pulse = String(revision);
    this.tellPage();
  }

  /** The counts of the page may be seconds old, unlike the labels on the map: its script runs at most so often. */
  tellPage() {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      this.told = Date.now();
      if (!this.bench.gone) this.bench.setStateValue('revision', this.revision);
    }, Math.max(0, this.told + TELL_PAGE_EVERY_MS - Date.now()));
  }

  /** The selected building's label, unless it is judged blind. */
  showIn(inspector, others) {
    const { selected } = this.bench;
    const said = selected && !selected.blind && others.find(({ id }) => id === selected.id);
    if (!said) return;
    selected.detail.label = said.value ? { value: said.value, labeller: said.labeller } : null;
    inspector.show(selected.detail);
  }
}
