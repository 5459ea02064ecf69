/** The live model: after each label the buildings in view are coloured anew, without fetching their geometry. */

const MOVED_MS = 200;
const PAD = 0.25; // as much around the view as footprints are drawn

export class LiveModel {
  constructor(bench) {
    this.bench = bench;
    this.p = new Map();
    this.revision = 0;
    bench.map.on('moveend', () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.refresh(), MOVED_MS);
    });
  }

  get shown() {
    return this.bench.data.run_id === 'live';
  }

  /** The newest probability of a building, where it is in view. */
  probability(id) {
    return this.shown ? this.p.get(id) : undefined;
  }

  update(data) {
    if (data.run_id !== 'live') {
      this.p.clear();
      this.stamp = null;
      this.revision = 0;
    } else if (data.live_stamp !== this.stamp) this.refresh();
  }

  /** What to ask for: the buildings that are drawn. Sent with a label too, whose answer then brings the new colours. */
  question() {
    const bounds = this.bench.map.getBounds().pad(PAD);
    const bbox = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()].map((v) => v.toFixed(6));
    return { bbox: bbox.join(','), on: this.bench.footprints.query().on };
  }

  /** Ask for the numbers of now; while an answer is on its way one more question is kept for after it. */
  async refresh() {
    if (!this.shown || this.bench.gone) return;
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    try {
      const answer = await this.bench.api.get('live', this.question());
      if (answer.stamp && this.shown && !this.bench.gone) this.take(answer);
    } catch (error) {
      this.bench.toast(`The live model could not be asked: ${error.message}`, true);
    }
    this.asking = false;
    if (this.again) {
      this.again = false;
      this.refresh();
    }
  }

  /** Ask once more where no question was answered yet: nothing else would before the next label or movement. */
  retry() {
    if (!this.stamp && !this.asking) this.refresh();
  }

  take(answer) {
    const { stamp, revision, id, p } = answer;
    if (revision < this.revision) return; // overtaken by a newer one
    this.revision = revision;
    this.stamp = stamp;
    this.p = new Map(id.map((building, row) => [building, p[row]]));
    this.recolour(answer);
    this.bench.inspector.refreshModel();
    this.bench.root.dataset.live = String(revision); // which labels the colours have learned from
  }

  /** New colours for the outlines that are drawn, a new version for the tiles where these are drawn instead. */
  recolour({ id, codes, version }) {
    const { footprints } = this.bench;
    if (Object.keys(this.bench.data.filter).length) {
      footprints.load(); // a filter lets others through now
      return;
    }
    const { set } = footprints;
    id.forEach((building, from) => {
      const row = set.rowOf.get(building);
      if (row === undefined) return;
      for (const mode of Object.keys(codes)) set.codes[mode][row] = codes[mode][from];
    });
    footprints.retile(version);
    footprints.repaint();
  }
}
