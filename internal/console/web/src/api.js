// What the page asks its server, and the one stream on which the server answers by itself.
import { computed, signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

export const locked = signal(false); // the server asks for its token
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
    throw new ApiError(0, 'Weir does not answer. Is it still running?');
  }
  if (response.status === 401 && path !== '/api/login') locked.value = true;
  const text = await response.text();
  let body = null;
  try { body = text ? JSON.parse(text) : null; } catch { /* shown below */ }
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

// What the page shows is of this moment: the last frame of the overview, which comes twice a second, or, while the broker is silent, its
// last answer. Null before the first frame.
const shownAt = signal(null);
const clock = signal(Date.now());
setInterval(() => { clock.value = Date.now(); }, 1000);

const silence = 4000; // milliseconds without a frame, after which weir counts as gone

// trouble is why figures are old, and since when: { who: 'weir' | 'broker', since, why }; null while they are of now.
export const trouble = computed(() => {
  const now = frames.overview.value;
  if (!now) return link.value === 'lost' ? { who: 'weir', since: null, why: '' } : null;
  if (clock.value - shownAt.value > silence) return { who: 'weir', since: shownAt.value, why: '' };
  if (now.error) return { who: 'broker', since: now.answered ?? null, why: now.error };
  return null;
});

const wanted = new Map(); // name of a feed → users
let source = null;
let streamID = '';
let timer = 0;

const names = () => ['overview', ...[...wanted.keys()].filter((n) => n !== 'overview')].slice(0, 8);

function tell() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (!streamID) return;
    const id = streamID;
    post('events/' + id, { watch: names() }).catch(() => { if (id === streamID) reopen(); });
  }, 30);
}

// watch asks for frames of a feed until the function that it returns is called.
export function watch(name) {
  wanted.set(name, (wanted.get(name) ?? 0) + 1);
  tell();
  return () => {
    const left = wanted.get(name) - 1;
    if (left > 0) wanted.set(name, left);
    else wanted.delete(name);
    tell();
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
    tell();
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

// A page that nobody sees needs no stream.
document.addEventListener('visibilitychange', () => {
  clearTimeout(hidden);
  if (document.hidden) hidden = setTimeout(close, 20000);
  else if (!source) reopen();
});
let hidden = 0;
