/** Pre and post imagery in two panes; the post pane is clipped at a handle that the user drags. */

export class Views {
  constructor(L, map, stage, api, data) {
    this.map = map;
    this.stage = stage;
    this.handle = stage.querySelector('.wb-swipe');
    this.share = 0.5;
    this.mode = 'swipe';
    const tiles = (role, zIndex) => {
      map.createPane(role).style.zIndex = zIndex;
      return L.tileLayer(`${api.base.href}tiles/${role}/{z}/{x}/{y}?v=${encodeURIComponent(data.stamp)}`, {
        pane: role,
        minZoom: data.min_zoom,
        maxZoom: data.max_zoom,
        maxNativeZoom: data.native_zoom,
        keepBuffer: 3,
        updateWhenZooming: false,
      }).addTo(map);
    };
    this.pre = tiles('pre', 210);
    this.post = tiles('post', 220);
    map.on('move zoom zoomend resize viewreset', () => this.clip());
    this.listen();
    this.setMode('swipe');
  }

  setMode(mode) {
    this.mode = mode;
    this.stage.dataset.view = mode;
    this.map.getPane('pre').style.visibility = mode === 'post' ? 'hidden' : 'visible';
    this.map.getPane('post').style.visibility = mode === 'pre' ? 'hidden' : 'visible';
    this.clip();
  }

  clip() {
    const size = this.map.getSize();
    const share = this.mode === 'swipe' ? this.share : 0;
    const topLeft = this.map.containerPointToLayerPoint([0, 0]);
    const bottomRight = this.map.containerPointToLayerPoint(size);
    const left = topLeft.x + size.x * share;
    // Both sides are clipped: where a post tile is still missing, the pre image must not pass for it.
    this.map.getPane('post').style.clip = `rect(${topLeft.y}px,${bottomRight.x}px,${bottomRight.y}px,${left}px)`;
    const right = this.mode === 'swipe' ? left : bottomRight.x;
    this.map.getPane('pre').style.clip = `rect(${topLeft.y}px,${right}px,${bottomRight.y}px,${topLeft.x}px)`;
    this.handle.style.left = `${this.share * 100}%`;
    this.handle.setAttribute('aria-valuenow', String(Math.round(this.share * 100)));
  }

  moveTo(share) {
    this.share = Math.min(0.98, Math.max(0.02, share));
    this.clip();
  }

  listen() {
    this.handle.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      this.handle.setPointerCapture(event.pointerId);
      const box = this.stage.getBoundingClientRect();
      const move = (moved) => this.moveTo((moved.clientX - box.left) / box.width);
      this.handle.addEventListener('pointermove', move);
      this.handle.addEventListener('pointerup', () => this.handle.removeEventListener('pointermove', move), { once: true });
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
