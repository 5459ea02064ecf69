/* The offline map: draws what the page holds as JSON. Every text from data goes into a text node, never into HTML. */
(() => {
  'use strict';
  const data = JSON.parse(document.getElementById('data').textContent);
  const { words, buildings } = data;
  const FAR_M_A_PIXEL = 2.5;
  const stage = document.querySelector('.stage');
  const map = L.map('map', { zoomSnap: 0.25, zoomAnimation: false, fadeAnimation: false, attributionControl: false, maxZoom: 21, preferCanvas: true });
  L.control.scale({ imperial: false, maxWidth: 140 }).addTo(map);
  const fit = () => map.fitBounds(data.bounds, { animate: false });
  fit();
  document.querySelector('.fit').addEventListener('click', fit);

  function h(tag, props, ...children) {
    const element = Object.assign(document.createElement(tag), props);
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  /** [[x, y, dx, dy, …], …] in steps of a degree from the origin to rings of [lat, lon]. */
  function ringsOf(shape) {
    return shape.map((ring) => {
      const points = [];
      let [x, y] = data.origin;
      for (let i = 0; i < ring.length; i += 2) points.push([(y += ring[i + 1]) / data.steps, (x += ring[i]) / data.steps]);
      return points;
    });
  }

  /* buildings */
  const outlines = L.canvas({ padding: 0.3, tolerance: 4 });
  const polygons = new Array(buildings.id.length);
  const bare = !data.pictures;
  const looks = data.styles.map((style) => ({
    renderer: outlines, color: style.line, opacity: style.line_opacity, weight: style.width, fillColor: style.fill,
    fillOpacity: bare && !style.dashed ? 0.95 : style.fill_opacity, dashArray: style.dashed ? '3 3' : null,
  }));
  /* From afar a building is a dot: all of it in its colour, damaged ones bigger, no rims. */
  const fromAfar = (i) => {
    const style = data.styles[buildings.code[i]];
    return style.dashed ? { weight: 0.6 } : { color: style.fill, weight: buildings.damaged[i] ? 2 : 0.7, fillOpacity: 1 };
  };
  const isFar = () => 40075017 * Math.cos(map.getCenter().lat * Math.PI / 180) / 256 / 2 ** map.getZoom() > FAR_M_A_PIXEL;
  const order = buildings.id.map((_, i) => i).sort((a, b) => data.styles[buildings.code[a]].rank - data.styles[buildings.code[b]].rank || a - b);

  function factsOf(i) {
    const style = data.styles[buildings.code[i]];
    const list = h('dl', {});
    const add = (name, text, dir = 'auto') => list.append(h('dt', {}, name), h('dd', { dir }, text));
    if (buildings.reason[i] >= 0) add(words.why, buildings.reasons[buildings.reason[i]]);
    if (buildings.score[i] !== null) {
      const from = data.threshold === null ? '' : ` (${words.threshold.replace('{threshold}', data.threshold)})`;
      add(words.score, `${buildings.score[i]}${from}`);
    }
    add(words.before, buildings.pre_days[buildings.pre[i]] ?? words.unknownDate);
    add(words.after, buildings.post_days[buildings.post[i]] ?? words.unknownDate);
    if (buildings.area[i] !== null) add(words.size, `${buildings.area[i]} m²`, 'ltr');
    if (buildings.comment[i]) add(words.comment, buildings.comment[i]);
    const centre = polygons[i].getBounds();
    if (centre.isValid()) add(words.place, `${centre.getCenter().lat.toFixed(6)}, ${centre.getCenter().lng.toFixed(6)}`, 'ltr');
    add(words.id, buildings.id[i]);
    const said = [null, words.model, words.analyst][buildings.by[i]];
    const title = h('h3', {}, buildings.states[buildings.state[i]]);
    title.style.borderColor = style.fill;
    return h('div', { className: 'facts', dir: document.documentElement.dir }, title, said ? h('p', { className: 'soft' }, said) : null, list);
  }

  function open(i) {
    const bounds = polygons[i].getBounds();
    if (!bounds.isValid()) return;
    L.popup({ maxWidth: 380, autoPanPadding: [20, 60] }).setLatLng(bounds.getCenter()).setContent(factsOf(i)).openOn(map);
  }

  let far = isFar();
  for (const i of order) {
    polygons[i] = L.polygon(ringsOf(buildings.shape[i]), { ...looks[buildings.code[i]], ...(far ? fromAfar(i) : {}) }).on('click', () => open(i));
    polygons[i].addTo(map);
  }
  map.on('zoomend', () => {
    if (far === isFar()) return;
    far = !far;
    for (const i of order) polygons[i].setStyle(far ? fromAfar(i) : looks[buildings.code[i]]);
  });

  /* units, area of interest */
  const under = map.createPane('under');
  under.style.zIndex = 390;
  const lines = { pane: 'under', color: bare ? '#17212b' : '#fff', weight: 2, fill: false, interactive: false };
  if (data.area.length) L.polyline(ringsOf(data.area).map((ring) => [...ring, ring[0]]), { ...lines, dashArray: '8 6' }).addTo(map);
  const units = new Map(data.units.map((unit) => {
    const layer = L.polygon(ringsOf(unit.shape), lines).addTo(map);
    layer.bindTooltip(h('div', { className: 'unit', dir: 'auto' }, unit.name), { direction: 'center' });
    return [unit.id, layer];
  }));
  for (const button of document.querySelectorAll('[data-unit]')) {
    button.addEventListener('click', () => {
      const layer = units.get(button.dataset.unit);
      if (!layer) return;
      map.fitBounds(layer.getBounds(), { animate: false });
      layer.openTooltip(layer.getBounds().getCenter());
      stage.scrollIntoView({ block: 'nearest' });
    });
  }

  /* grid of counts */
  if (data.grid) {
    map.createPane('grid').style.zIndex = 380;
    const renderer = L.canvas({ pane: 'grid' });
    const labels = L.layerGroup().addTo(map);
    const percent = (part, whole) => (whole ? `${Math.round((100 * part) / whole)} %` : '–');
    for (const [south, west, north, east, all, assessed, damaged] of data.grid.cells) {
      const fifth = Math.min(data.ramp.length - 1, Math.floor((assessed ? damaged / assessed : 0) * data.ramp.length));
      const list = h('dl', {});
      for (const [name, text] of [[words.buildings, all], [words.assessed, assessed], [words.flagged, damaged], [words.share, percent(damaged, assessed)], [words.notAssessed, all - assessed]]) {
        list.append(h('dt', {}, name), h('dd', { dir: 'ltr' }, text));
      }
      L.rectangle([[south, west], [north, east]], { renderer, pane: 'grid', color: '#55606b', weight: 1, fillColor: assessed ? data.ramp[fifth] : '#7f8a8f', fillOpacity: bare ? 0.75 : 0.45 })
        .bindPopup(h('div', { className: 'facts' }, list)).addTo(map);
    }
    const label = () => {
      labels.clearLayers();
      const [south, west, , east] = data.grid.cells[0] ?? [0, 0, 0, 0];
      if (map.latLngToLayerPoint([south, east]).x - map.latLngToLayerPoint([south, west]).x < 26) return;
      const view = map.getBounds();
      for (const [s, w, n, e, , , damaged] of data.grid.cells) {
        if (!damaged || !view.intersects([[s, w], [n, e]])) continue;
        const icon = L.divIcon({ className: 'cell', html: h('span', {}, String(damaged)), iconSize: [60, 16] });
        L.marker([(s + n) / 2, (w + e) / 2], { icon, interactive: false, keyboard: false }).addTo(labels);
      }
    };
    map.on('moveend', label);
    label();
  }

  /* pictures and their swipe */
  const container = map.getContainer();
  if (data.pictures) {
    const handle = document.querySelector('.swipe');
    const panes = {};
    for (const [at, role] of ['pre', 'post'].entries()) {
      panes[role] = map.createPane(role);
      panes[role].style.zIndex = 210 + 10 * at;
      if (data.pictures[role]) L.imageOverlay(data.pictures[role], data.bounds, { pane: role }).addTo(map);
    }
    map.createPane('swipe').style.zIndex = 650; // below the facts of a building
    map.getPane('swipe').append(handle);
    L.DomEvent.disableClickPropagation(handle);
    const both = Boolean(data.pictures.pre && data.pictures.post);
    let share = 0.5;
    let mode = both ? 'swipe' : data.pictures.post ? 'post' : 'pre';
    const clip = () => {
      const size = map.getSize();
      const a = map.containerPointToLayerPoint([0, 0]);
      const b = map.containerPointToLayerPoint(size);
      const x = a.x + size.x * share;
      const box = (left, right) => `polygon(${left}px ${a.y}px, ${right}px ${a.y}px, ${right}px ${b.y}px, ${left}px ${b.y}px)`;
      panes.pre.style.clipPath = mode === 'swipe' ? box(a.x, x) : mode === 'pre' ? '' : 'inset(100%)';
      panes.post.style.clipPath = mode === 'swipe' ? box(x, b.x) : mode === 'post' ? '' : 'inset(100%)';
      Object.assign(handle.style, { left: `${x}px`, top: `${a.y}px`, height: `${size.y}px` });
      handle.setAttribute('aria-valuenow', String(Math.round(100 * share)));
    };
    const set = (wanted) => {
      mode = wanted;
      handle.hidden = mode !== 'swipe';
      for (const button of document.querySelectorAll('[data-mode]')) button.setAttribute('aria-pressed', String(button.dataset.mode === mode));
      clip();
    };
    const to = (wanted) => { share = Math.min(1, Math.max(0, wanted)); clip(); };
    handle.addEventListener('pointerdown', (event) => { handle.setPointerCapture(event.pointerId); event.preventDefault(); handle.focus(); });
    handle.addEventListener('pointermove', (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const box = container.getBoundingClientRect();
      to((event.clientX - box.left) / box.width);
    });
    handle.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -0.05, ArrowRight: 0.05 }[event.key];
      if (step) { to(share + step); event.preventDefault(); }
    });
    for (const button of document.querySelectorAll('[data-mode]')) button.addEventListener('click', () => set(button.dataset.mode));
    document.querySelector('.modes').hidden = !both;
    map.on('move zoom zoomend resize viewreset', clip);
    set(mode);
  }

  /* search */
  const found = document.getElementById('found');
  const field = document.getElementById('find');
  const lower = buildings.id.map((id) => id.toLowerCase());
  const go = (i) => {
    const bounds = polygons[i].getBounds();
    if (bounds.isValid()) map.fitBounds(bounds, { maxZoom: 18, animate: false });
    open(i);
    found.replaceChildren();
    stage.scrollIntoView({ block: 'nearest' });
  };
  const search = () => {
    const text = field.value.trim().toLowerCase();
    const hits = [];
    const exact = lower.indexOf(text);
    if (exact >= 0) hits.push(exact);
    for (let i = 0; text && i < lower.length && hits.length < 8; i += 1) if (i !== exact && lower[i].includes(text)) hits.push(i);
    found.replaceChildren(...hits.map((i) => h('button', { type: 'button', dir: 'auto', onclick: () => go(i) }, `${buildings.id[i]} · ${buildings.states[buildings.state[i]]}`)));
    if (text && !hits.length) found.append(words.notFound);
    return hits;
  };
  field.addEventListener('input', search);
  field.addEventListener('keydown', (event) => { if (event.key === 'Enter') { const [first] = search(); if (first !== undefined) go(first); } });
})();
