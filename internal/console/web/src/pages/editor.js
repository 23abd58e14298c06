import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { html } from '../html.js';
import { get, post } from '../api.js';
import { Chart } from '../chart.js';
import { Graph } from '../graph.js';
import { highlight } from '../sql.js';
import { Empty, Page, Panel, Tabs, Trouble, f, useAnswer, useDebounced } from '../parts.js';

const kept = () => { try { return sessionStorage.getItem('sql') ?? ''; } catch { return ''; } };

export function Editor() {
  const { answer: first, error } = useAnswer((signal) => get('sql/starters', null, signal), 'starters');
  const [text, setText] = useState(kept());
  const [checked, setChecked] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const [result, setResult] = useState(null);
  const [busy, setBusy] = useState(false);
  const [last, setLast] = useState(2000);
  const [close, setClose] = useState(true);
  const [tab, setTab] = useState('graph');
  const settled = useDebounced(text, 350);

  useEffect(() => { if (!text && first) setText(first[0].text); }, [first]);
  useEffect(() => {
    try { sessionStorage.setItem('sql', settled); } catch { /* not kept after leaving the page */ }
    if (!settled.trim()) { setChecked(null); return undefined; }
    let gone = false;
    post('sql/check', { text: settled }).then((a) => { if (!gone) { setChecked({ ...a, text: settled }); setTrouble(null); } }, (e) => { if (!gone) setTrouble(e); });
    return () => { gone = true; };
  }, [settled]);

  const run = async () => {
    if (busy) return;
    setBusy(true);
    setTrouble(null);
    try {
      const a = await post('sql/preview', { text, last, close });
      if (a.ok && a.results) { setResult(a); setTab('preview'); } else setResult(null);
      setChecked({ ...a, text });
    } catch (e) { setTrouble(e); }
    setBusy(false);
  };

  const current = checked && checked.text === text ? checked : null;
  return html`
    <${Page} title="SQL" lead="Validate, explain and preview a pipeline. A preview runs in memory over the last records and writes nothing."
      tools=${html`
        <label class="inline">Start from <select value="" onChange=${(e) => { const s = first?.find((x) => x.name === e.target.value); if (s) setText(s.text); e.target.value = ''; }}>
          <option value="">choose…</option>${(first ?? []).map((s) => html`<option key=${s.name} value=${s.name} title=${s.about}>${s.name}</option>`)}</select></label>`}>
      <${Trouble} error=${error} />
      <div class="grid two editor-grid">
        <${Panel} label="Editor">
          <${SQLField} text=${text} onText=${setText} at=${current && !current.ok ? current : null} onRun=${run} />
          <div class="bar">
            <button type="button" class="primary" onClick=${run} disabled=${busy || !text.trim()}>${busy ? 'Running…' : 'Preview'} <kbd>Ctrl ↵</kbd></button>
            <label class="inline">over the last <select value=${last} onChange=${(e) => setLast(Number(e.target.value))}>${[100, 500, 2000, 10000, 20000].map((n) => html`<option key=${n} value=${n}>${f.count(n)}</option>`)}</select> records</label>
            <label class="inline"><input type="checkbox" checked=${close} onChange=${(e) => setClose(e.target.checked)} /> close windows at the end</label>
          </div>
          <${Verdict} of=${current} />
          <${Trouble} error=${trouble} />
        </${Panel}>
        <${Panel} label="Result">
          <div class="bar"><${Tabs} label="Result" value=${tab} onChange=${setTab} options=${[['graph', 'Graph'], ['plan', 'Explain'], ['preview', 'Preview']]} />
            ${tab === 'preview' && result ? html`<span class="note">${f.plural(result.read, 'record')} read, ${f.ms(result.took)}</span>` : null}</div>
          ${tab === 'graph' ? (checked?.graph ? html`<${Graph} graph=${checked.graph} />` : html`<${Empty}>The plan graph appears here once the SQL is valid.</${Empty}>`) : null}
          ${tab === 'plan' ? (checked?.plan ? html`<pre class="plan" tabindex="0" aria-label="Plan">${checked.plan}</pre>` : html`<${Empty}>The plan appears here once the SQL is valid.</${Empty}>`) : null}
          ${tab === 'preview' ? (result ? html`<${Results} of=${result.results} />` : html`<${Empty}>Run a preview to see the rows that would be written.</${Empty}>`) : null}
        </${Panel}>
      </div>
    </${Page}>`;
}

function Verdict({ of }) {
  if (!of) return html`<p class="verdict" role="status"> </p>`;
  if (of.ok) return html`<p class="verdict ok" role="status"><span aria-hidden="true">✓</span> Valid${of.pipeline && of.pipeline !== 'preview' ? `: pipeline ${of.pipeline}` : ''}</p>`;
  return html`<p class="verdict bad" role="alert">${of.line ? html`<b>Line ${of.line}, column ${of.column}.</b> ` : null}${of.message}${of.hint ? html`<span class="hint">${of.hint}</span>` : null}</p>`;
}

// The SQL editor: a text area over its highlighted text, with line numbers and a marker at the error.
function SQLField({ text, onText, at, onRun }) {
  const area = useRef(null);
  const back = useRef(null);
  const colours = useMemo(() => highlight(text + '\n'), [text]);
  const lines = text.split('\n').length;
  const scroll = () => { back.current.style.transform = `translate(${-area.current.scrollLeft}px, ${-area.current.scrollTop}px)`; };
  const keys = (e) => {
    if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); onRun(); }
  };
  const column = at?.line ? columnAt(text, at.line, at.column) : 0;
  return html`
    <div class="sql-field">
      <div class="sql-back" aria-hidden="true"><div ref=${back}>
        <ol>${Array.from({ length: lines }, (_, i) => html`<li key=${i} class=${at?.line === i + 1 ? 'wrong' : ''}>${i + 1}</li>`)}</ol>
        <pre>${colours}</pre>
        ${at?.line ? html`<span class="wrong-line" style=${{ top: `calc(var(--top) + ${at.line - 1} * var(--lh))` }}></span>
          <span class="wrong-mark" style=${{ top: `calc(var(--top) + ${at.line} * var(--lh) - 4px)`, left: `calc(var(--left) + ${column}ch)`, width: `${wordAt(text, at)}ch` }}></span>` : null}
      </div></div>
      <textarea ref=${area} value=${text} onInput=${(e) => { onText(e.target.value); scroll(); }} onScroll=${scroll} onKeyDown=${keys} wrap="off" spellcheck=${false} autocapitalize="off" autocomplete="off"
        aria-label="SQL" aria-invalid=${at ? 'true' : 'false'} rows="22"></textarea>
    </div>`;
}

// The screen column of a column of a line; tab stops are every two columns.
function columnAt(text, line, column) {
  let n = 0;
  for (const c of [...(text.split('\n')[line - 1] ?? '')].slice(0, column - 1)) n += c === '\t' ? 2 - (n % 2) : 1;
  return n;
}

function wordAt(text, at) {
  const rest = [...(text.split('\n')[at.line - 1] ?? '')].slice(at.column - 1).join('');
  return Math.max(1, /^(\w+|`[^`]*`|'[^']*')?/.exec(rest)[0].length);
}

function Results({ of }) {
  const [which, setWhich] = useState(0);
  const [view, setView] = useState('table');
  const r = of[Math.min(which, of.length - 1)];
  if (!r) return html`<${Empty}>No rows would be written.</${Empty}>`;
  return html`
    <div class="bar">
      ${of.length > 1 ? html`<${Tabs} label="Topic" value=${which} onChange=${setWhich} options=${of.map((x, i) => [i, `${x.kind === 'rows' ? x.topic : x.kind} (${f.short(x.total)})`])} />` : null}
      <${Tabs} label="View" value=${view} onChange=${setView} options=${[['table', 'Table'], ['chart', 'Chart']]} />
      <span class="note">${f.plural(r.total, 'row')}${r.rows && r.rows.length < r.total ? `, last ${r.rows.length} shown` : ''}</span>
    </div>
    ${!r.rows?.length ? html`<${Empty}>No rows would be written. Open windows emit nothing: close them at the end, or read more records.</${Empty}>`
    : view === 'table' ? html`<${ResultTable} of=${r} />` : html`<${ResultChart} of=${r} />`}`;
}

const cell = (v) => (v === null || v === undefined ? html`<span class="null">null</span>` : typeof v === 'number' ? f.value(v) : typeof v === 'object' ? JSON.stringify(v) : html`<bdi>${String(v)}</bdi>`);

function ResultTable({ of }) {
  const columns = [...(of.columns ?? []), ...(of.rows.some((r) => '(deleted)' in r) ? ['(deleted)'] : [])];
  return html`<div class="scroll tall" tabindex="0" role="region" aria-label="Rows"><table class="records">
    <thead><tr>${columns.map((c) => html`<th key=${c} class=${typeof of.rows[0][c] === 'number' ? 'num' : ''}>${c}</th>`)}</tr></thead>
    <tbody>${of.rows.slice(-200).reverse().map((r, i) => html`<tr key=${i}>${columns.map((c) => html`<td key=${c} class=${typeof r[c] === 'number' ? 'num' : ''}>${c in r ? cell(r[c]) : ''}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

function ResultChart({ of }) {
  const isTime = (v) => typeof v === 'string' && /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(v);
  const timeColumns = of.columns.filter((c) => of.rows.some((r) => isTime(r[c])));
  const numbers = of.columns.filter((c) => of.rows.some((r) => typeof r[c] === 'number'));
  const texts = of.columns.filter((c) => of.rows.some((r) => typeof r[c] === 'string') && !timeColumns.includes(c));
  const [field, setField] = useState(numbers[numbers.length - 1]);
  const [by, setBy] = useState(texts[0] ?? '');
  const data = useMemo(() => {
    const time = timeColumns[0];
    const at = (r, i) => (time ? Date.parse(/[Zz]|[+-]\d\d:?\d\d$/.test(r[time]) ? r[time] : r[time].replace(' ', 'T') + 'Z') / 1000 : i);
    const lines = new Map();
    of.rows.forEach((r, i) => {
      if (typeof r[field] !== 'number' || (time && !isTime(r[time]))) return;
      const name = by ? String(r[by]) : field;
      if (!lines.has(name)) lines.set(name, new Map());
      lines.get(name).set(at(r, i), r[field]);
    });
    const names = [...lines.keys()].sort().slice(0, 6);
    const times = [...new Set(names.flatMap((n) => [...lines.get(n).keys()]))].sort((a, b) => a - b);
    return { names, columns: [times, ...names.map((n) => times.map((t) => lines.get(n).get(t)))] };
  }, [of, field, by]);
  if (!numbers.length) return html`<${Empty}>These rows have no numeric columns.</${Empty}>`;
  return html`
    <div class="bar">
      <label class="inline">Column <select value=${field} onChange=${(e) => setField(e.target.value)}>${numbers.map((n) => html`<option key=${n}>${n}</option>`)}</select></label>
      <label class="inline">by <select value=${by} onChange=${(e) => setBy(e.target.value)}><option value="">(none)</option>${texts.map((n) => html`<option key=${n}>${n}</option>`)}</select></label>
    </div>
    <${Chart} label=${field} series=${data.names.map((n, i) => ({ label: n, color: i + 1 }))} data=${data.columns} format=${f.value} height=${280} />`;
}
