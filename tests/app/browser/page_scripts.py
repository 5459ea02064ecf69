"""What the tests ask a page as a whole, in its own language: axe-core, controls out of reach, a focus that shows."""

AXE_RUN = """async () => {
  const { violations, passes } = await axe.run(document);
  const place = (node) => `    ${node.target.join(' ')}  ${node.html.slice(0, 160)}  ${node.failureSummary ?? ''}`;
  const serious = violations.filter((each) => ['serious', 'critical'].includes(each.impact));
  const words = (each) => [`${each.impact} ${each.id}: ${each.help}`, ...each.nodes.slice(0, 4).map(place)].join('\\n');
  return { passes: passes.length, violations: serious.map(words) };
}"""

UNREACHABLE = """() => {
  const cut = [];
  for (const element of document.querySelectorAll('button, input, [role=button], [role=slider], a[href]')) {
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (!box.width || !box.height || style.visibility === 'hidden' || Number(style.opacity) === 0) continue;
    if (element.closest('[aria-hidden=true], [hidden], [inert]')) continue;
    if (box.width < 4 || box.height < 4) continue; // Streamlit's own hidden inputs
    let [top, left, bottom, right] = [0, 0, innerHeight, innerWidth];
    let [y, x] = [(box.top + box.bottom) / 2, (box.left + box.right) / 2];
    let reachable = y >= 0 && y <= innerHeight && x >= 0 && x <= innerWidth;
    for (let below = element, up; (up = below.parentElement); below = up) {
      if (getComputedStyle(below).position === 'fixed') break; // what lies around it in the document does not clip it
      const overflow = getComputedStyle(up);
      const around = up.getBoundingClientRect();
      const scrolls = /auto|scroll/.test(overflow.overflowY) && up.scrollHeight > up.clientHeight;
      if (scrolls) { reachable = around.bottom > 0 && around.top < innerHeight; break; }
      const clips = /hidden|clip/.test(overflow.overflowY) || /hidden|clip/.test(overflow.overflowX);
      if (clips && (around.width < 4 || around.height < 4)) break; // for screen readers, or laid over it
      if (clips && (y > around.bottom + 1 || y < around.top - 1 || x > around.right + 1 || x < around.left - 1)) {
        reachable = false;
        break;
      }
    }
    if (element.contains(document.elementFromPoint(x, y))) reachable = true; // what is clipped is not found there
    const name = (element.ariaLabel || element.innerText || element.title || '').slice(0, 40);
    if (!reachable) cut.push(`${element.tagName} '${name}' at ${Math.round(x)}, ${Math.round(y)}`);
  }
  return cut;
}"""

FOCUS_SHOWS = """() => {
  let element = document.activeElement;
  for (let up = 0; element && up < 6; up += 1, element = element.parentElement) {
    const style = getComputedStyle(element);
    if (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) return true;
    if (style.boxShadow !== 'none' && !/rgba\\(0, 0, 0, 0\\)/.test(style.boxShadow.split(')')[0] + ')')) return true;
    if (up && element.matches('[data-baseweb]') && style.borderColor !== 'rgba(0, 0, 0, 0)') return true;
  }
  return false;
}"""
