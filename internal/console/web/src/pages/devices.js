import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { html } from '../html.js';
import { frames, get, useWatch } from '../api.js';
import { to } from '../route.js';
import { Chart } from '../chart.js';
import { Empty, Name, Page, Panel, Search, Spark, State, Tabs, Trouble, f, useAnswer, useDebounced } from '../parts.js';

const rowHeight = 46;
const chunk = 20; // rows are requested in multiples of this
const spare = 10; // rows above and below the visible ones

// Devices is a virtual list: only visible rows are rendered and requested.
export function Devices({ params }) {
  const [text, setText] = useState('');
  const [status, setStatus] = useState(params.get('status') ?? '');
  const [sort, setSort] = useState('id');
  const q = useDebounced(text, 150);
  const view = useRef(null);
  const [range, setRange] = useState({ first: 0, count: 30 });
  const [list, setList] = useState(null);

  const offset = Math.max(0, Math.floor((range.first - spare) / chunk) * chunk);
  const limit = Math.min(200, Math.ceil((range.count + 2 * spare) / chunk) * chunk + chunk);
  const ask = useMemo(() => new URLSearchParams({ q, status, sort, offset, limit }).toString(), [q, status, sort, offset, limit]);
  useWatch('devices:' + ask);

  useEffect(() => {
    const stop = new AbortController();
    get('devices?' + ask, null, stop.signal).then(setList, () => {});
    return () => stop.abort();
  }, [ask]);
  const frame = frames.devices.value;
  useEffect(() => {
    if (frame?.ask === ask) setList(frame);
  }, [frame]);
  useEffect(() => { view.current?.scrollTo({ top: 0 }); }, [q, status, sort]);

  const measure = () => {
    const v = view.current;
    if (!v) return;
    const first = Math.floor(v.scrollTop / rowHeight);
    const count = Math.ceil(v.clientHeight / rowHeight) + 1;
    setRange((old) => (old.first === first && old.count === count ? old : { first, count }));
  };
  useLayoutEffect(() => {
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(view.current);
    return () => observer.disconnect();
  }, []);

  const matched = list?.matched ?? 0;
  const columns = useMemo(() => sensorsOf(list?.rows), [list]);
  const rows = [];
  const end = Math.min(matched, range.first + range.count + spare);
  for (let i = Math.max(0, range.first - spare); i < end; i++) rows.push([i, list.rows[i - list.offset]]);
  const counts = list?.counts ?? frames.overview.value?.devices;

  const move = (e) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: range.count - 2, PageUp: 2 - range.count }[e.key];
    const row = e.target.closest?.('[data-row]');
    if (!step || !row) return;
    e.preventDefault();
    const next = Math.max(0, Math.min(matched - 1, Number(row.dataset.row) + step));
    const v = view.current;
    const top = next * rowHeight;
    if (top < v.scrollTop) v.scrollTop = top;
    else if (top + rowHeight > v.scrollTop + v.clientHeight) v.scrollTop = top + rowHeight - v.clientHeight;
    measure();
    requestAnimationFrame(() => requestAnimationFrame(() => v.querySelector(`[data-row="${next}"] a`)?.focus({ preventScroll: true })));
  };

  return html`
    <${Page} title="Devices" lead=${counts ? `${f.plural(counts.total, 'device')}${counts.sampled ? ', sampled: there are more readings than the console reads' : ''}` : ''}
      tools=${html`<${Search} value=${text} onInput=${setText} label="Search devices" placeholder="Search devices  /" />`}>
      <div class="bar">
        <${Tabs} label="Status" value=${status} onChange=${setStatus} options=${[
    ['', html`all <b>${f.count(counts?.total)}</b>`],
    ['online', html`<${State} is="online" /> <b>${f.count(counts?.online)}</b>`],
    ['late', html`<${State} is="late" /> <b>${f.count(counts?.late)}</b>`],
    ['silent', html`<${State} is="silent" /> <b>${f.count(counts?.silent)}</b>`],
  ]} />
        <label class="inline">Sort <select value=${sort} onChange=${(e) => setSort(e.target.value)}><option value="id">by name</option><option value="seen">longest silent first</option></select></label>
        <span class="note" role="status">${list ? (matched === counts?.total ? '' : f.plural(matched, 'match', 'matches')) : 'loading…'}</span>
      </div>
      <div class="devices panel" role="table" aria-label="Devices" aria-rowcount=${matched + 1} style=${{ '--columns': columns.length }}>
        <div class="device-head" role="row" aria-rowindex="1">
          <span role="columnheader">Device</span><span role="columnheader">Status</span><span role="columnheader" class="seen">Last seen</span>
          ${columns.map((c) => html`<span role="columnheader" key=${c} class="sensor">${c}</span>`)}
        </div>
        <div class="device-list" role="rowgroup" ref=${view} onScroll=${measure} onKeyDown=${move} tabindex="-1">
          <div class="device-space" role="presentation" style=${{ height: matched * rowHeight + 'px' }}>
            ${rows.map(([i, row]) => html`<${DeviceRow} key=${i} index=${i} row=${row} columns=${columns} />`)}
          </div>
          ${list && matched === 0 ? html`<${Empty}>${counts?.total ? 'No matching devices.' : 'No readings yet.'}</${Empty}>` : null}
        </div>
      </div>
    </${Page}>`;
}

function DeviceRow({ index, row, columns }) {
  const place = { transform: `translateY(${index * rowHeight}px)` };
  if (!row) return html`<div class="device-row waiting" role="row" aria-rowindex=${index + 2} data-row=${index} style=${place}><span role="cell">…</span></div>`;
  const by = Object.fromEntries(row.sensors.map((s) => [s.name, s]));
  return html`
    <div class=${'device-row ' + row.status} role="row" aria-rowindex=${index + 2} data-row=${index} style=${place}>
      <span role="cell" class="id"><a href=${to('device', row.id)}><${Name} of=${row.id} /></a></span>
      <span role="cell"><${State} is=${row.status} /></span>
      <span role="cell" class="seen">${f.ago(row.seen)}</span>
      ${columns.map((c) => html`<span role="cell" key=${c} class="sensor">${by[c] ? html`<span class="reading"><b>${f.steady(by[c].last)}</b><small>${f.unit(by[c].unit)}</small></span><${Spark} values=${by[c].spark} width=${64} height=${22} />` : '–'}</span>`)}
    </div>`;
}

// The most common sensors, at most five.
function sensorsOf(rows) {
  const n = new Map();
  for (const r of rows ?? []) for (const s of r.sensors) n.set(s.name, (n.get(s.name) ?? 0) + 1);
  return [...n].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 5).map(([name]) => name).sort();
}

const mostPoints = 2400;

// merge appends points that are newer; both are sorted by time.
function merge(into, at, values) {
  let [times, all] = into;
  const known = times.length ? times[times.length - 1] : -Infinity;
  const added = [];
  for (let i = 0; i < at.length; i++) if (at[i] / 1000 > known) added.push([at[i] / 1000, values[i]]);
  if (!added.length) return into;
  added.sort((a, b) => a[0] - b[0]);
  times = times.concat(added.map((p) => p[0])).slice(-mostPoints);
  all = all.concat(added.map((p) => p[1])).slice(-mostPoints);
  return [times, all];
}

function sorted(s) {
  const order = (s.at ?? []).map((t, i) => [t / 1000, s.values[i]]).sort((a, b) => a[0] - b[0]);
  return [order.map((p) => p[0]), order.map((p) => p[1])];
}

export function Device({ argument: id }) {
  useWatch('device:' + id);
  const { answer, error } = useAnswer((signal) => get('device', { id }, signal), id);
  const [series, setSeries] = useState({});
  const frame = frames.device.value?.id === id ? frames.device.value : null;
  useEffect(() => { if (answer) setSeries(Object.fromEntries(answer.sensors.map((s) => [s.name, sorted(s)]))); }, [answer]);
  useEffect(() => {
    if (!frame || !answer) return;
    setSeries((old) => {
      const next = { ...old };
      for (const s of frame.sensors) next[s.name] = merge(old[s.name] ?? [[], []], s.at ?? [], s.values ?? []);
      return next;
    });
  }, [frame, answer]);
  const d = frame ?? answer;
  return html`
    <${Page} title=${html`<${Name} of=${id} />`} lead=${d ? html`<${State} is=${d.status} /> last seen ${f.ago(d.seen)}${d.interval ? `, usually every ${f.ms(d.interval)}` : ''}, partition ${d.partition}` : ''}
      tools=${html`<a class="button" href=${to('devices')}>All devices</a>`}>
      <${Trouble} error=${error} />
      ${!d && !error ? html`<${Empty}>Loading the last minutes…</${Empty}>` : null}
      <div class="grid two">
        ${(d?.sensors ?? []).map((s, i) => html`<${Sensor} key=${s.name} sensor=${s} data=${series[s.name] ?? [[], []]} color=${(i % 6) + 1} />`)}
      </div>
    </${Page}>`;
}

function Sensor({ sensor, data, color }) {
  const unit = f.unit(sensor.unit);
  const values = data[1];
  let low = Infinity;
  let high = -Infinity;
  let sum = 0;
  for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); sum += v; }
  const stats = values.length ? `min ${f.value(low)}, max ${f.value(high)}, mean ${f.value(Number((sum / values.length).toPrecision(4)))}` : '';
  return html`
    <${Panel} title=${sensor.name} note=${stats} tools=${html`<span class="big inline"><b>${f.value(sensor.last)}</b> <small>${unit}</small></span>`}>
      <${Chart} label=${`${sensor.name} in ${unit}`} series=${[{ label: unit || sensor.name, color, fill: true }]} data=${data} format=${f.value} sync="device" height=${168} />
    </${Panel}>`;
}
