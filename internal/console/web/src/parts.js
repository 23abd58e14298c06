// Components shared by the pages.
import { useEffect, useRef, useState } from 'preact/hooks';
import { html } from './html.js';
import * as f from './format.js';

export function Page({ title, lead, tools, children }) {
  return html`
    <header class="page-head">
      <div><h1 id="title" tabindex="-1">${title}</h1>${lead ? html`<p class="lead">${lead}</p>` : null}</div>
      ${tools ? html`<div class="tools">${tools}</div>` : null}
    </header>
    ${children}`;
}

export function Panel({ title, note, tools, children, className = '', label }) {
  return html`
    <section class=${'panel ' + className} aria-label=${label ?? title}>
      ${title || tools ? html`<div class="panel-head"><h2>${title}</h2>${note ? html`<span class="note">${note}</span>` : null}${tools ? html`<div class="tools">${tools}</div>` : null}</div>` : null}
      ${children}
    </section>`;
}

const marks = {
  online: ['ok', '●'], running: ['ok', '●'], delivering: ['ok', '●'], ok: ['ok', '●'],
  late: ['warn', '◐'], rebalancing: ['warn', '◐'], restoring: ['warn', '◐'], starting: ['warn', '◐'], waiting: ['warn', '◐'], warning: ['warn', '◐'],
  silent: ['bad', '○'], retrying: ['bad', '▲'], failed: ['bad', '✕'], refused: ['bad', '✕'], critical: ['bad', '▲'], firing: ['bad', '▲'],
  silenced: ['off', '◌'], unknown: ['off', '?'], stopped: ['off', '□'], resolved: ['off', '□'],
};

// A state has a shape and a word as well as a colour.
export function State({ is, title }) {
  const [tone, mark] = marks[is] ?? ['off', '·'];
  return html`<span class=${'state ' + tone} title=${title}><span class="mark" aria-hidden="true">${mark}</span>${is}</span>`;
}

// A name from outside: plain text with its own direction.
export const Name = ({ of }) => html`<bdi class="mono">${of}</bdi>`;

export function Empty({ children }) {
  return html`<p class="empty">${children}</p>`;
}

export function Trouble({ error }) {
  return error ? html`<p class="trouble" role="alert">${error.message ?? error}</p>` : null;
}

// useAnswer repeats a request when its key changes: { answer, error, loading, again }. While loading, answer is the previous one.
export function useAnswer(ask, key) {
  const [state, set] = useState({ answer: null, error: null, key: null });
  const [round, again] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    ask(stop.signal).then(
      (answer) => { if (!stop.signal.aborted) set({ answer, error: null, key }); },
      (error) => { if (!stop.signal.aborted) set((old) => ({ ...old, error, key })); },
    );
    return () => stop.abort();
  }, [key, round]);
  const same = state.key === key;
  return { answer: state.answer, error: same ? state.error : null, loading: !same, again: () => again((n) => n + 1) };
}

export function useDebounced(value, millis = 200) {
  const [now, set] = useState(value);
  useEffect(() => {
    const t = setTimeout(() => set(value), millis);
    return () => clearTimeout(t);
  }, [value, millis]);
  return now;
}

// A sparkline.
export function Spark({ values, width = 88, height = 24, tone = '', label }) {
  if (!values || values.length < 2) return html`<svg class="spark" width=${width} height=${height} aria-hidden="true"></svg>`;
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
  const span = high - low || 1;
  const flat = high === low;
  let d = '';
  const step = (width - 4) / (values.length - 1);
  let x = 2;
  let y = 0;
  for (let i = 0; i < values.length; i++) {
    y = flat ? height / 2 : 2 + (height - 4) * (1 - (values[i] - low) / span);
    d += (i ? 'L' : 'M') + x.toFixed(1) + ' ' + y.toFixed(1);
    if (i < values.length - 1) x += step;
  }
  return html`
    <svg class=${'spark ' + tone} width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} preserveAspectRatio="none" role=${label ? 'img' : undefined} aria-label=${label} aria-hidden=${label ? undefined : 'true'}>
      <path d=${d} /><path class="end" d=${`M${x.toFixed(1)} ${y.toFixed(1)}h.01`} />
    </svg>`;
}

export function Tabs({ value, onChange, options, label }) {
  return html`<div class="tabs" role="group" aria-label=${label}>
    ${options.map(([key, text]) => html`<button type="button" key=${key} aria-pressed=${value === key} onClick=${() => onChange(key)}>${text}</button>`)}
  </div>`;
}

export function Search({ value, onInput, label, placeholder }) {
  return html`<input class="search" type="search" aria-label=${label} placeholder=${placeholder ?? label} value=${value} onInput=${(e) => onInput(e.target.value)} spellcheck=${false} autocomplete="off" />`;
}

// A confirmation dialog for actions that can't be undone.
export function Confirm({ title, children, action, onYes, onNo, busy }) {
  const ref = useRef(null);
  useEffect(() => { ref.current?.showModal?.(); }, []);
  return html`
    <dialog ref=${ref} class="confirm" onClose=${onNo} aria-label=${title}>
      <h2>${title}</h2>
      <div>${children}</div>
      <div class="actions">
        <button type="button" class="quiet" onClick=${onNo}>Cancel</button>
        ${action ? html`<button type="button" class="danger" disabled=${busy} onClick=${onYes}>${busy ? 'Working…' : action}</button>` : null}
      </div>
    </dialog>`;
}

// Payload shows what a record holds, in one line, or whole.
export function Payload({ of, whole }) {
  if (!of) return html`<span class="null">null</span>`;
  if (of.size === 0) return html`<span class="null">empty</span>`;
  if (of.kind === 'bytes') return whole ? html`<${Hex} bytes=${of.bytes} />` : html`<code class="bytes">${hexLine(of.bytes)}</code>`;
  if (!whole) return html`<code dir="auto">${of.text.length > 400 ? of.text.slice(0, 400) + '…' : of.text}</code>`;
  return html`<pre class="payload" tabindex="0" dir="auto">${pretty(of)}</pre>`;
}

export function pretty(of) {
  if (of.kind === 'text' || of.kind === 'bytes') return of.text ?? '';
  try { return JSON.stringify(JSON.parse(of.text), null, 2); } catch { return of.text; }
}

const decode = (base64) => Uint8Array.from(atob(base64 ?? ''), (c) => c.charCodeAt(0));
const hexLine = (base64) => [...decode(base64).slice(0, 24)].map((b) => b.toString(16).padStart(2, '0')).join(' ');

// A hex dump with text alongside.
export function Hex({ bytes, label = 'bytes' }) {
  const all = decode(bytes);
  const lines = [];
  for (let i = 0; i < all.length; i += 16) {
    const part = all.slice(i, i + 16);
    const hex = [...part].map((b) => b.toString(16).padStart(2, '0'));
    const text = [...part].map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : '·')).join('');
    lines.push(`${i.toString(16).padStart(6, '0')}  ${hex.slice(0, 8).join(' ').padEnd(23)}  ${hex.slice(8).join(' ').padEnd(23)}  ${text}`);
  }
  return html`<pre class="hex" tabindex="0" aria-label=${label}>${lines.join('\n') || '(empty)'}</pre>`;
}

export function Figure({ label, value, unit, note, spark, tone = '', href }) {
  const body = html`
    <span class="figure-label">${label}</span>
    <span class="figure-value">${value}${unit ? html`<small>${unit}</small>` : null}</span>
    ${note ? html`<span class="figure-note">${note}</span>` : null}
    ${spark ? html`<${Spark} values=${spark} width=${132} height=${30} tone=${tone} />` : null}`;
  return href ? html`<a class="figure" href=${href}>${body}</a>` : html`<div class="figure">${body}</div>`;
}

export { f };
