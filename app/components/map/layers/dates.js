/** How pre and post are compared: one of them, a swipe, a flicker, or side by side. The imagery of each has its own panes. */

const FLICK_MS = 1200;
const ROLES = ['pre', 'post'];
const TILE_PX = 512; // as in app/tiles.py: half the server's work that tiles of 256 would be

export class DateViews {
  constructor(L, map, stage, api, data) {
    this.L = L;
    this.map = map;
    this.stage = stage;
    this.api = api;
    this.data = data;
    this.handle = stage.querySelector('.wb-swipe');
    this.share = 0.5;
    this.mode = 'swipe';
    this.flick = 'post';
    this.layers = [];
    this.onChange = () => {};
    this.onMap = () => {}; // told of the second map once there is one
    this.onPicture = () => {}; // told to adjust its picture
    for (const [place, role] of ROLES.entries()) this.addImagery(map, role, 210 + 10 * place);
    map.on('move zoom zoomend resize viewreset', () => this.clip());
    this.listen();
    this.setMode('swipe');
  }

  addImagery(map, role, zIndex) {
    map.createPane(role).style.zIndex = zIndex;
    const outlines = map.createPane(`outlines-${role}`);
    outlines.style.zIndex = 450;
    outlines.style.pointerEvents = 'none';
    const { data, L } = this;
    const layer = L.tileLayer(`${this.api.base.href}tiles/${role}/{z}/{x}/{y}?v=${encodeURIComponent(data.stamp)}`, {
      pane: role, tileSize: TILE_PX, zoomOffset: -1, minZoom: data.min_zoom, maxZoom: data.max_zoom, maxNativeZoom: data.native_zoom, keepBuffer: 3, updateWhenZooming: false, className: 'wb-imagery',
    }).addTo(map);
    this.layers.push({ map, role, layer });
  }

  /** Whether the imagery of a side can be seen on the first map or the second. */
  shows(role) {
    if (this.mode === 'pre' || this.mode === 'post') return role === this.mode;
    return this.mode !== 'flicker' || role === this.flick;
  }

  /** The side whose imagery decides which buildings lie in the view. */
  get main() {
    return this.mode === 'post' ? 'post' : 'pre';
  }

  /** The side that is seen at a point of a map. */
  roleAt(point, map) {
    if (map !== this.map) return 'post';
    if (this.mode === 'swipe') return point.x < map.getSize().x * this.share ? 'pre' : 'post';
    if (this.mode === 'flicker') return this.flick;
    return this.mode === 'post' ? 'post' : 'pre';
  }

  setMode(mode) {
    this.mode = mode;
    this.stage.dataset.view = mode;
    for (const button of this.stage.querySelectorAll('[data-view-mode]')) {
      button.setAttribute('aria-pressed', String(button.dataset.viewMode === mode));
    }
    clearInterval(this.flicking);
    if (mode === 'flicker' && !matchMedia('(prefers-reduced-motion: reduce)').matches) {
      this.flicking = setInterval(() => this.flip(), FLICK_MS);
    }
    if (mode === 'side') this.pair();
    this.resize();
    this.apply();
  }

  resize() {
    this.map.invalidateSize({ animate: false });
    if (this.mode !== 'side') return;
    this.other?.invalidateSize({ animate: false });
    this.follow(this.map, this.other);
  }

  /** Begins the flicker; once it is on, shows the other image by hand. */
  flickerKey() {
    if (this.mode === 'flicker') this.flip(true);
    else this.setMode('flicker');
  }

  /** The flicker's other image; by hand it then waits for the hand. */
  flip(byHand = false) {
    if (byHand) clearInterval(this.flicking);
    this.flick = this.flick === 'pre' ? 'post' : 'pre';
    this.apply();
  }

  apply() {
    this.stage.dataset.flick = this.flick;
    for (const role of ROLES) {
      const seen = this.shows(role) && !(this.mode === 'side' && role === 'post');
      for (const pane of [role, `outlines-${role}`]) this.map.getPane(pane).style.visibility = seen ? 'visible' : 'hidden';
    }
    this.clip();
    this.onChange();
  }

  clip() {
    const size = this.map.getSize();
    const share = this.mode === 'swipe' ? this.share : 0;
    const topLeft = this.map.containerPointToLayerPoint([0, 0]);
    const bottomRight = this.map.containerPointToLayerPoint(size);
    const left = topLeft.x + size.x * share;
    const right = this.mode === 'swipe' ? left : bottomRight.x;
    // Both sides are clipped: where a post tile is still missing, the pre image must not pass for it.
    this.cut('post', `rect(${topLeft.y}px,${bottomRight.x}px,${bottomRight.y}px,${left}px)`);
    this.cut('pre', `rect(${topLeft.y}px,${right}px,${bottomRight.y}px,${topLeft.x}px)`);
    this.handle.style.left = `${this.share * 100}%`;
    this.handle.setAttribute('aria-valuenow', String(Math.round(this.share * 100)));
  }

  cut(role, rectangle) {
    for (const pane of [role, `outlines-${role}`]) {
      const { style } = this.map.getPane(pane);
      style.clip = rectangle;
    }
  }

  moveTo(share) {
    this.share = Math.min(0.98, Math.max(0.02, share));
    this.clip();
  }

  /** The second map beside the first, made when it is first wanted; each follows the other. */
  pair() {
    if (this.other) return;
    const { map, L } = this;
    this.other = L.map(this.stage.querySelector('.wb-second'), {
      minZoom: map.getMinZoom(), maxZoom: map.getMaxZoom(), zoomControl: false, attributionControl: false,
      keyboard: false, zoomSnap: 0.25, wheelPxPerZoomLevel: 100, boxZoom: false, center: map.getCenter(), zoom: map.getZoom(),
    });
    this.addImagery(this.other, 'post', 220);
    for (const [from, to] of [[map, this.other], [this.other, map]]) {
      from.on('move', () => this.mode === 'side' && this.follow(from, to));
      from.on('moveend', () => this.mode === 'side' && this.guarded(() => to.fire('moveend')));
    }
    this.onMap(this.other);
    this.onPicture();
  }

  follow(from, to) {
    this.guarded(() => {
      const centre = from.getCenter();
      if (from.getZoom() !== to.getZoom()) to.setView(centre, from.getZoom(), { animate: false });
      else {
        to._rawPanBy(to._getCenterOffset(centre)); // as a drag does: without loading anything before its end
        to.fire('move');
      }
    });
  }

  guarded(action) {
    if (this.following) return;
    this.following = true;
    try {
      action();
    } finally {
      this.following = false;
    }
  }

  /** Brightness and contrast of a side, 1 as the image is. */
  setPicture(role, { brightness, contrast }) {
    const plain = brightness === 1 && contrast === 1;
    for (const map of [this.map, this.other].filter(Boolean)) {
      const pane = map.getPane(role);
      if (pane) pane.style.filter = plain ? '' : `brightness(${brightness}) contrast(${contrast})`;
    }
  }

  destroy() {
    clearInterval(this.flicking);
    this.other?.remove();
  }

  listen() {
    this.handle.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      this.handle.setPointerCapture(event.pointerId);
      const box = this.stage.getBoundingClientRect();
      const move = (moved) => this.moveTo((moved.clientX - box.left) / box.width);
      const stop = () => this.handle.removeEventListener('pointermove', move);
      this.handle.addEventListener('pointermove', move);
      for (const end of ['pointerup', 'pointercancel']) this.handle.addEventListener(end, stop, { once: true });
    });
    this.handle.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -0.05, ArrowRight: 0.05 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.moveTo(this.share + step);
    });
  }
}
