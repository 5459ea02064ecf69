/** Small helpers: elements with text (never HTML from outside), dates, requests to this server. */

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === 'class') element.className = value;
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name === 'style') Object.assign(element.style, value);
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, attributes = {}) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** A position as people write it, latitude first and with letters: everywhere in this one order. */
export const position = (lat, lon) => `${Math.abs(lat).toFixed(5)}° ${lat < 0 ? 'S' : 'N'}, ${Math.abs(lon).toFixed(5)}° ${lon < 0 ? 'W' : 'E'}`;

export const percent = (value) => (value === null || value === undefined ? '–' : `${Math.round(value * 100)} %`);

/**
 * Requests to the app's own routes; they go ahead of map tiles, of which a browser asks for six at a time.
 * What is written goes through the outbox.
 */
export class Api {
  constructor(event) {
    this.base = new URL(`ds/${encodeURIComponent(event)}/`, document.baseURI);
  }

  url(path, params = {}) {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(params)) {
      if (value === null || value === undefined) continue;
      for (const item of Array.isArray(value) ? value : [value]) url.searchParams.append(name, item);
    }
    return url.href;
  }

  async get(path, params, signal) {
    return answer(await fetch(this.url(path, params), { signal, priority: 'high' }));
  }

  /** `longest`: milliseconds to wait for the answer; `kept`: bodies of at most so many bytes outlive the page. */
  async write(path, body, longest, kept) {
    const text = JSON.stringify(body);
    return answer(
      await fetch(this.url(path), {
        method: 'POST',
        priority: 'high',
        keepalive: text.length < kept, // a label given just before the page is closed still arrives
        headers: { 'Content-Type': 'application/json' },
        body: text,
        signal: AbortSignal.timeout(longest),
      }),
    );
  }
}

async function answer(response) {
  if (response.ok) return response.json();
  let message = `the server answered ${response.status}`;
  try {
    message = (await response.json()).error ?? message;
  } catch {
    /* no JSON body: the status says enough */
  }
  throw Object.assign(new Error(message), { status: response.status });
}
