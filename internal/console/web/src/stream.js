// A live topic: its newest records as a table of their fields, or as a chart of one of them.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { html } from './html.js';
import { frames, useWatch } from './api.js';
import { Chart } from './chart.js';
import { Empty, Payload, Tabs, f } from './parts.js';

const fieldsOf = (row) => {
  if (row.value?.kind === 'bytes' || !row.value) return null;
  try {
    const v = JSON.parse(row.value.text);
    return v && typeof v === 'object' && !Array.isArray(v) ? v : null;
  } catch { return null; }
};

export function Stream({ topic, rows = 14, height = 230 }) {
  useWatch('tail:' + topic);
  const [held, hold] = useState(null);
  const [view, setView] = useState('table');
  const live = frames.tail.value?.topic === topic ? frames.tail.value : null;
  const frame = held ?? live;
  useEffect(() => hold(null), [topic]);
  const parsed = useMemo(() => (frame?.rows ?? []).map((r) => ({ ...r, fields: fieldsOf(r) })), [frame]);
  return html`
    <div class="bar">
      <${Tabs} label="View" value=${view} onChange=${setView} options=${[['table', 'Table'], ['chart', 'Chart']]} />
      <button type="button" class="quiet" aria-pressed=${held !== null} onClick=${() => hold(held ? null : live)}>${held ? 'Resume' : 'Pause'}</button>
      <span class="note">${live ? `${f.rate(live.rate)}${live.sampled ? ', sampled' : ''}` : 'connecting…'}</span>
    </div>
    ${!frame ? html`<${Empty}>Reading ${topic}…</${Empty}>`
    : !frame.rows.length && frame.reading ? html`<${Empty}>Reading ${topic}…</${Empty}>`
    : !frame.rows.length ? html`<${Empty}>${topic} has no committed records yet.</${Empty}>`
      : view === 'table' ? html`<${StreamTable} rows=${parsed.slice(0, rows)} topic=${topic} />` : html`<${StreamChart} rows=${parsed} topic=${topic} height=${height} />`}`;
}

const show = (v) => (v === null || v === undefined ? html`<span class="null">null</span>` : typeof v === 'number' ? f.value(v) : typeof v === 'object' ? JSON.stringify(v) : html`<bdi>${String(v)}</bdi>`);

function StreamTable({ rows, topic }) {
  const columns = [];
  for (const r of rows) for (const k of Object.keys(r.fields ?? {})) if (!columns.includes(k) && columns.length < 12) columns.push(k);
  const numeric = Object.fromEntries(columns.map((c) => [c, rows.some((r) => typeof r.fields?.[c] === 'number')]));
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${`Newest records of ${topic}`}><table class="records">
    <thead><tr><th class="num">Offset</th><th>Time</th><th>Key</th>${columns.length ? columns.map((c) => html`<th key=${c} class=${numeric[c] ? 'num' : ''}>${c}</th>`) : html`<th>Value</th>`}</tr></thead>
    <tbody>${rows.map((r) => html`<tr key=${r.partition + ':' + r.offset}>
      <td class="num dim">${r.partition}:${r.offset}</td><td class="dim">${f.clock(r.t)}</td><td><${Payload} of=${r.key} /></td>
      ${columns.length && r.fields ? columns.map((c) => html`<td key=${c} class=${numeric[c] ? 'num' : ''}>${c in r.fields ? show(r.fields[c]) : ''}</td>`) : html`<td colspan=${Math.max(1, columns.length)}>${r.value ? html`<${Payload} of=${r.value} />` : html`<span class="null">deleted</span>`}</td>`}
    </tr>`)}</tbody>
  </table></div>`;
}

const mostSeries = 6;
const mostPoints = 600;

function StreamChart({ rows, topic, height }) {
  const numbers = [];
  const texts = [];
  for (const r of rows) {
    for (const [k, v] of Object.entries(r.fields ?? {})) {
      if (typeof v === 'number' && !numbers.includes(k)) numbers.push(k);
      if (typeof v === 'string' && !texts.includes(k)) texts.push(k);
    }
  }
  const [chosen, choose] = useState('');
  const [split, setSplit] = useState(null);
  const field = numbers.includes(chosen) ? chosen : numbers.includes('value') ? 'value' : numbers[0];
  const by = split ?? (texts.includes('sensor') ? 'sensor' : texts[0] ?? '');
  const data = useCollected(rows, field, by, topic);
  if (!field) return html`<${Empty}>These records have no numeric fields.</${Empty}>`;
  return html`
    <div class="bar">
      <label class="inline">Field <select value=${field} onChange=${(e) => choose(e.target.value)}>${numbers.map((n) => html`<option key=${n}>${n}</option>`)}</select></label>
      <label class="inline">by <select value=${by} onChange=${(e) => setSplit(e.target.value)}><option value="">(none)</option>${texts.map((n) => html`<option key=${n}>${n}</option>`)}</select></label>
      ${data.left ? html`<span class="note">${f.plural(data.left, 'more line')} not shown</span>` : null}
    </div>
    <${Chart} label=${`${field} of ${topic}`} series=${data.names.map((n, i) => ({ label: n, color: i + 1 }))} data=${data.columns} format=${f.value} height=${height} />`;
}

// useCollected keeps the points received since the chart was opened: one line per name, by the record's timestamp.
function useCollected(rows, field, by, topic) {
  const kept = useRef({ key: '', points: new Map(), seen: new Set() });
  return useMemo(() => {
    const key = [topic, field, by].join('\n');
    if (kept.current.key !== key) kept.current = { key, points: new Map(), seen: new Set() };
    const { points, seen } = kept.current;
    for (const r of [...rows].reverse()) {
      const id = r.partition + ':' + r.offset;
      if (seen.has(id) || typeof r.fields?.[field] !== 'number') continue;
      seen.add(id);
      const name = by ? String(r.fields[by] ?? 'none') : field;
      if (!points.has(name)) points.set(name, []);
      const line = points.get(name);
      line.push([r.t / 1000, r.fields[field]]);
      if (line.length > mostPoints) line.shift();
    }
    if (seen.size > 20000) kept.current.seen = new Set(rows.map((r) => r.partition + ':' + r.offset));
    const names = [...points.keys()].sort().slice(0, mostSeries);
    const times = [...new Set(names.flatMap((n) => points.get(n).map((p) => p[0])))].sort((a, b) => a - b);
    const place = new Map(times.map((t, i) => [t, i]));
    const columns = [times, ...names.map((n) => {
      const column = new Array(times.length).fill(undefined);
      for (const [t, v] of points.get(n)) column[place.get(t)] = v;
      return column;
    })];
    return { names, columns, left: Math.max(0, points.size - mostSeries) };
  }, [rows, field, by, topic]);
}
