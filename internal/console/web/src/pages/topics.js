import { Fragment } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { html } from '../html.js';
import { frames, get, useWatch } from '../api.js';
import { to } from '../route.js';
import { Stream } from '../stream.js';
import { Empty, Name, Page, Panel, Payload, Search, State, Tabs, Trouble, f, useAnswer, useDebounced } from '../parts.js';

export function Topics() {
  useWatch('topics');
  const { answer, error } = useAnswer((signal) => get('topics', null, signal), 'topics');
  const [text, setText] = useState('');
  const [internal, setInternal] = useState(false);
  const all = (frames.topics.value ?? answer)?.topics ?? [];
  const rows = all.filter((t) => (internal || !t.internal) && t.name.toLowerCase().includes(text.toLowerCase()));
  return html`
    <${Page} title="Topics" lead=${all.length ? f.plural(all.length, 'topic') : ''} tools=${html`<${Search} value=${text} onInput=${setText} label="Search topics" placeholder="Search topics  /" />`}>
      <${Trouble} error=${error} />
      <${Panel} label="Topics">
        ${all.some((t) => t.internal) ? html`<div class="bar"><label class="inline"><input type="checkbox" checked=${internal} onChange=${(e) => setInternal(e.target.checked)} /> show internal topics</label></div>` : null}
        <div class="scroll" tabindex="0" role="region" aria-label="Topics"><table>
          <thead><tr><th>Topic</th><th class="num opt">Partitions</th><th class="num opt">Replicas</th><th class="num opt">Offsets</th><th class="num">Rate</th><th class="num">Lag</th><th>Readers</th><th>State</th></tr></thead>
          <tbody>${rows.map((t) => html`<tr key=${t.name}>
            <td><a href=${to('topic', t.name)}><${Name} of=${t.name} /></a></td><td class="num opt">${t.count}</td><td class="num opt">${t.replicas}</td><td class="num opt">${f.count(t.records)}</td>
            <td class="num">${t.rate ? f.rate(t.rate) : html`<span class="dim">0</span>`}</td><td class="num">${t.readers ? f.short(t.lag) : ''}</td><td class="dim wrap">${t.readers?.map((r) => html`<span key=${r} class="tag mono">${r}</span> `)}</td>
            <td>${t.offline ? html`<${State} is="critical" title="partitions without a leader" />` : t.under_replicated ? html`<${State} is="warning" title="under-replicated partitions" />` : html`<${State} is="ok" />`}</td></tr>`)}</tbody>
        </table></div>
        ${!rows.length ? html`<${Empty}>No matching topics.</${Empty}>` : null}
      </${Panel}>
    </${Page}>`;
}

export function Topic({ argument: name }) {
  const [tab, setTab] = useState('records');
  const { answer: t, error, again } = useAnswer((signal) => get('topic', { name }, signal), name);
  return html`
    <${Page} title=${html`<${Name} of=${name} />`} lead=${t ? `${f.plural(t.partitions.length, 'partition')}, ${f.plural(t.replicas, 'replica')}, ${f.count(t.records)} offsets, ${f.rate(t.rate)}` : ''}
      tools=${html`<a class="button" href=${to('topics')}>All topics</a>`}>
      <${Trouble} error=${error} />
      <div class="bar"><${Tabs} label="View" value=${tab} onChange=${(v) => { setTab(v); if (v === 'partitions') again(); }} options=${[['records', 'Records'], ['live', 'Live'], ['partitions', 'Partitions'], ['settings', 'Settings']]} /></div>
      ${tab === 'records' ? html`<${Records} topic=${name} partitions=${t?.partitions.length ?? 1} />` : null}
      ${tab === 'live' ? html`<${Panel} label="Live"><${Stream} topic=${name} rows=${25} height=${320} /></${Panel}>` : null}
      ${tab === 'partitions' && t ? html`<${Panel} label="Partitions"><${Partitions} of=${t} /></${Panel}>` : null}
      ${tab === 'settings' && t ? html`<${Panel} label="Settings"><dl class="keys">${Object.entries(t.config).map(([k, v]) => html`<div key=${k}><dt class="mono">${k}</dt><dd>${v || '–'}</dd></div>`)}</dl></${Panel}>` : null}
    </${Page}>`;
}

function Partitions({ of }) {
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="Partitions"><table>
      <thead><tr><th class="num">Partition</th><th class="num">Leader</th><th>Replicas</th><th>In sync</th><th class="num">Start</th><th class="num">Last stable</th><th class="num">End</th><th class="num">Rate</th></tr></thead>
      <tbody>${of.partitions.map((p) => html`<tr key=${p.id}><td class="num">${p.id}</td><td class="num">${p.leader < 0 ? html`<b class="bad-text">none</b>` : p.leader}</td><td>${p.replicas.join(', ')}</td>
        <td class=${p.isr.length < p.replicas.length ? 'warn-text' : ''}>${p.isr.join(', ')}</td><td class="num">${f.count(p.start)}</td><td class="num">${f.count(p.stable)}</td><td class="num">${f.count(p.end)}</td><td class="num">${f.rate(p.rate)}</td></tr>`)}</tbody>
    </table></div>
    ${of.readers.length ? html`<h3>Readers</h3><div class="scroll" tabindex="0" role="region" aria-label="Readers"><table><thead><tr><th>Group</th><th>State</th><th class="num">Rate</th><th class="num">Lag</th></tr></thead>
      <tbody>${of.readers.map((r) => html`<tr key=${r.group}><td><${Name} of=${r.group} /></td><td>${r.state}</td><td class="num">${f.rate(r.rate)}</td><td class="num">${f.count(r.lag)}</td></tr>`)}</tbody></table></div>` : null}`;
}

const local = (d) => new Date(d.getTime() - d.getTimezoneOffset() * 60000).toISOString().slice(0, 19);

function Records({ topic, partitions }) {
  const [from, setFrom] = useState('end');
  const [partition, setPartition] = useState('');
  const [offset, setOffset] = useState('0');
  const [time, setTime] = useState(local(new Date(Date.now() - 60000)));
  const [text, setText] = useState('');
  const [open, setOpen] = useState('');
  const q = useDebounced(text, 400);
  const at = useDebounced(offset, 400);
  const params = useMemo(() => ({
    topic, from, partition, q, limit: 100, offset: from === 'offset' ? at || '0' : '', time: from === 'time' && time ? new Date(time).toISOString() : '',
  }), [topic, from, partition, q, at, time]);
  const { answer, error, loading, again } = useAnswer((signal) => get('records', params, signal), JSON.stringify(params));
  return html`
    <${Panel} label="Records">
      <div class="bar">
        <label class="inline">From <select value=${from} onChange=${(e) => setFrom(e.target.value)}><option value="end">newest</option><option value="start">oldest</option><option value="time">time</option><option value="offset">offset</option></select></label>
        ${from === 'time' ? html`<input type="datetime-local" step="1" aria-label="Time" value=${time} onChange=${(e) => setTime(e.target.value)} />` : null}
        ${from === 'offset' ? html`<input type="number" min="0" aria-label="Offset" value=${offset} onInput=${(e) => setOffset(e.target.value)} />` : null}
        <label class="inline">Partition <select value=${partition} onChange=${(e) => setPartition(e.target.value)}><option value="">all</option>${Array.from({ length: partitions }, (_, i) => html`<option key=${i} value=${i}>${i}</option>`)}</select></label>
        <${Search} value=${text} onInput=${setText} label="Search keys and values" />
        <button type="button" class="quiet" onClick=${again}>Refresh</button>
        <span class="note" role="status">${loading ? 'loading…' : answer ? `${f.plural(answer.rows.length, 'record')}${answer.scanned > answer.rows.length ? ` of ${f.count(answer.scanned)} read` : ''}${answer.more ? ', more exist' : ''}` : ''}</span>
      </div>
      <${Trouble} error=${error} />
      ${answer && !answer.rows.length ? html`<${Empty}>${q ? 'No matching records.' : 'No records.'}</${Empty}>` : null}
      ${answer?.rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Records"><table class="records">
        <thead><tr><th></th><th class="num">Part.</th><th class="num">Offset</th><th>Time</th><th>Key</th><th>Value</th></tr></thead>
        <tbody>${answer.rows.map((r) => {
    const id = r.partition + ':' + r.offset;
    const isOpen = open === id;
    return html`<${Fragment} key=${id}>
            <tr class=${isOpen ? 'open' : ''}>
              <td><button type="button" class="fold" aria-expanded=${isOpen} aria-label=${`Record ${id}`} onClick=${() => setOpen(isOpen ? '' : id)}>${isOpen ? '▾' : '▸'}</button></td>
              <td class="num dim">${r.partition}</td><td class="num">${r.offset}</td><td class="dim" title=${f.moment(r.t)}>${f.stamp(r.t)}</td><td><${Payload} of=${r.key} /></td><td class="clip"><${Payload} of=${r.value} /></td></tr>
            ${isOpen ? html`<tr class="detail"><td></td><td colspan="5"><${Whole} of=${r} /></td></tr>` : null}
          </${Fragment}>`;
  })}</tbody>
      </table></div>` : null}
    </${Panel}>`;
}

function Whole({ of }) {
  return html`
    <p class="note">${f.moment(of.t)} · ${of.value ? `${of.value.kind}, ${f.bytes(of.value.size)}${of.value.schema ? `, schema ${of.value.schema}` : ''}${of.value.cut ? ', truncated' : ''}` : 'tombstone (key deleted)'}</p>
    <${Payload} of=${of.value} whole />
    ${of.headers?.length ? html`<dl class="keys">${of.headers.map((h, i) => html`<div key=${i}><dt class="mono">${h.key}</dt><dd><${Payload} of=${h.value} /></dd></div>`)}</dl>` : null}`;
}
