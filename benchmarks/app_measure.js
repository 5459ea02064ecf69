/** Put into the page before its own scripts: when things were painted, as the browser itself knows it. */
(() => {
  const painted = (look, limit_ms = 60_000) => new Promise((resolve, reject) => {
    const begun = performance.now();
    const frame = () => {
      let seen = null;
      try { seen = look(); } catch { /* not there yet */ }
      if (seen) {
        // decoded, then one frame that shows it, then the time after that frame
        Promise.all((Array.isArray(seen) ? seen : []).map((image) => image.decode().catch(() => undefined))).then(() =>
          requestAnimationFrame(() => setTimeout(() => resolve(performance.now()))));
      } else if (performance.now() - begun > limit_ms) reject(new Error('not painted in time'));
      else requestAnimationFrame(frame);
    };
    frame();
  });

  const tiles = (part) => [...document.querySelectorAll('.wb-map img.leaflet-tile')].filter((image) => image.src.includes(part));
  const loaded = (image) => image.complete && image.naturalWidth > 0;

  /** Imagery of the first side and footprints: outlines with their data, or at least one of their tiles. */
  const useful = () => {
    const map = document.querySelector('.wb-map');
    const imagery = tiles('/tiles/').filter(loaded);
    const footprints = map?.dataset.drawnAs === 'tiles' ? tiles('/overview/').filter(loaded) : map?.dataset.footprints;
    return imagery.length && footprints?.length ? imagery.slice(0, 1) : null;
  };

  const crops = () => [...document.querySelectorAll('.wb-inspector .wb-crop img')];

  globalThis.measure = {
    firstPaint: painted(useful, 180_000),

    /** From the next key press to the crops of another building. */
    nextPair: () => new Promise((resolve, reject) => {
      const before = document.querySelector('.wb-inspector').dataset.building;
      addEventListener('keydown', (event) => {
        const shown = () => {
          const now = document.querySelector('.wb-inspector').dataset.building;
          const images = crops();
          return now && now !== before && images.length >= 2 && images.every((image) => loaded(image)
            && new URL(image.src).searchParams.get('id') === now) ? images : null;
        };
        painted(shown).then((at) => resolve(at - event.timeStamp), reject);
      }, { capture: true, once: true });
    }),

    /** From the next key press to a map whose colours have learned from that label. */
    recolour: () => new Promise((resolve, reject) => {
      const root = document.querySelector('.wb');
      const before = Number(root.dataset.live ?? -1);
      const old = new Set(tiles('/overview/').map((image) => new URL(image.src).searchParams.get('v')));
      addEventListener('keydown', (event) => {
        const shown = () => {
          if (Number(root.dataset.live ?? -1) <= before) return null;
          if (document.querySelector('.wb-map').dataset.drawnAs !== 'tiles') return [];
          const fresh = tiles('/overview/').filter((image) => !old.has(new URL(image.src).searchParams.get('v')));
          return fresh.length && fresh.every(loaded) ? fresh : null;
        };
        painted(shown, 20_000).then((at) => resolve(at - event.timeStamp), reject);
      }, { capture: true, once: true });
    }),

    longTasks: [],
    frames: [],
    watchFrames: (on) => {
      globalThis.measure.watching = on;
      if (!on) return globalThis.measure.frames;
      globalThis.measure.frames = [];
      const frame = (at) => {
        globalThis.measure.frames.push(at);
        if (globalThis.measure.watching) requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
      return [];
    },
  };
  new PerformanceObserver((list) => globalThis.measure.longTasks.push(...list.getEntries().map((entry) => [entry.startTime, entry.duration])))
    .observe({ type: 'longtask' });
})();
