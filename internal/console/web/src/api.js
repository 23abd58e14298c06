// Requests to the server, and the page's one stream of events.
import { computed, signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

export const locked = signal(false); // the server requires its token
export const link = signal('connecting'); // connecting, live, lost

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new ApiError(0, 'Weir does not respond. Is it still running?');
  }
  if (response.status === 401 && path !== '/api/login') locked.value = true;
  const text = await response.text();
  let body = null;
  try { body = text ? JSON.parse(text) : null; } catch { /* reported below */ }
  if (!response.ok) throw new ApiError(response.status, body?.error ?? `${response.status} ${response.statusText}`);
  return body;
}

const query = (params) => {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params ?? {})) if (v !== '' && v !== null && v !== undefined) q.set(k, v);
  const s = q.toString();
  return s ? '?' + s : '';
};

export const get = (path, params, signal) => ask('/api/' + path + query(params), { signal });
export const post = (path, body) => ask('/api/' + path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

// The newest frame of each kind of feed.
export const frames = {
  overview: signal(null), devices: signal(null), device: signal(null), pipeline: signal(null), tail: signal(null), topics: signal(null),
};

// When the page's figures were current: at the last frame of the overview, which arrives twice per second, or while the broker does not
// respond at its last answer. Null before the first frame.
const shownAt = signal(null);
const clock = signal(Date.now());
setInterval(() => { clock.value = Date.now(); }, 1000);

const silence = 4000; // milliseconds without a frame after which weir counts as down

// trouble is the reason why figures are outdated, and since when: { who: 'weir' | 'broker', since, why }; null while they are current.
export const trouble = computed(() => {
  const now = frames.overview.value;
  if (!now) return link.value === 'lost' ? { who: 'weir', since: null, why: '' } : null;
  if (clock.value - shownAt.value > silence) return { who: 'weir', since: shownAt.value, why: '' };
  if (now.error) return { who: 'broker', since: now.answered ?? null, why: now.error };
  return null;
});

const wanted = new Map(); // feed name → number of users
let source = null;
let streamID = '';
let timer = 0;

const names = () => ['overview', ...[...wanted.keys()].filter((n) => n !== 'overview')].slice(0, 8);

function rewatch() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (!streamID) return;
    const id = streamID;
    post('events/' + id, { watch: names() }).catch(() => { if (id === streamID) reopen(); });
  }, 30);
}

// watch subscribes to a feed; the function that it returns unsubscribes.
export function watch(name) {
  wanted.set(name, (wanted.get(name) ?? 0) + 1);
  rewatch();
  return () => {
    const left = wanted.get(name) - 1;
    if (left > 0) wanted.set(name, left);
    else wanted.delete(name);
    rewatch();
  };
}

export function useWatch(name) {
  useEffect(() => (name ? watch(name) : undefined), [name]);
}

export function open() {
  close();
  source = new EventSource('/api/events?' + names().map((n) => 'watch=' + encodeURIComponent(n)).join('&'));
  source.addEventListener('hello', (e) => {
    streamID = JSON.parse(e.data).id;
    link.value = 'live';
    rewatch();
  });
  for (const [kind, to] of Object.entries(frames)) source.addEventListener(kind, (e) => {
    if (kind === 'overview') shownAt.value = clock.value = Date.now();
    to.value = JSON.parse(e.data);
  });
  source.onerror = () => {
    streamID = '';
    link.value = 'lost';
    if (source.readyState === EventSource.CLOSED) {
      get('info').then(() => setTimeout(reopen, 1000), (e) => { if (e.status !== 401) setTimeout(reopen, 2000); });
    }
  };
}

function close() {
  source?.close();
  source = null;
  streamID = '';
}

function reopen() {
  if (!document.hidden && !locked.value) open();
}

// A hidden page needs no stream.
document.addEventListener('visibilitychange', () => {
  clearTimeout(hidden);
  if (document.hidden) hidden = setTimeout(close, 20000);
  else if (!source) reopen();
});
let hidden = 0;
