import { useState } from 'preact/hooks';
import { html } from '../html.js';
import { get } from '../api.js';
import { to } from '../route.js';
import { Empty, Name, Page, Panel, Search, Trouble, f, useAnswer } from '../parts.js';

export function Schemas({ argument: subject }) {
  return subject ? html`<${Subject} subject=${subject} />` : html`<${List} />`;
}

function List() {
  const { answer, error } = useAnswer((signal) => get('schemas', null, signal), 'schemas');
  const [text, setText] = useState('');
  const rows = (answer?.subjects ?? []).filter((s) => s.name.toLowerCase().includes(text.toLowerCase()));
  return html`
    <${Page} title="Schemas" lead=${answer?.registry ? html`Registry at ${answer.registry}${answer.compatibility ? `, compatibility ${answer.compatibility}` : ''}` : ''} tools=${html`<${Search} value=${text} onInput=${setText} label="Search subjects" />`}>
      <${Trouble} error=${error ?? answer?.error} />
      <${Panel} label="Subjects">
        ${answer && !answer.registry ? html`<${Empty}>No schema registry is configured.</${Empty}>` : answer && !rows.length ? html`<${Empty}>${text ? 'No matching subjects.' : 'No subjects are registered.'}</${Empty}>` : null}
        ${rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Subjects"><table>
          <thead><tr><th>Subject</th><th>Type</th><th>Versions</th><th class="num opt">Latest id</th><th>Compatibility</th></tr></thead>
          <tbody>${rows.map((s) => html`<tr key=${s.name}><td><a href=${to('schemas', s.name)}><${Name} of=${s.name} /></a></td><td>${kind(s.type)}</td><td>${s.versions.join(', ')}</td><td class="num opt">${s.latest_id}</td><td>${s.compatibility}</td></tr>`)}</tbody>
        </table></div>` : null}
      </${Panel}>
    </${Page}>`;
}

function Subject({ subject }) {
  const { answer, error } = useAnswer((signal) => get('schema', { subject }, signal), subject);
  const versions = answer?.versions ?? [];
  const [right, setRight] = useState(0);
  const [left, setLeft] = useState(0);
  const newer = versions.find((v) => v.version === right) ?? versions[versions.length - 1];
  const older = versions.find((v) => v.version === left) ?? versions[versions.indexOf(newer) - 1];
  const two = older && older !== newer;
  const pick = (value, set, label) => html`<label class="inline">${label} <select value=${value?.version} onChange=${(e) => set(Number(e.target.value))}>${versions.map((v) => html`<option key=${v.version} value=${v.version}>version ${v.version}, id ${v.id}</option>`)}</select></label>`;
  return html`
    <${Page} title=${html`<${Name} of=${subject} />`} lead=${newer ? `${f.plural(versions.length, 'version')}, ${kind(newer.type)}, compatibility ${answer.compatibility}` : ''} tools=${html`<a class="button" href=${to('schemas')}>All schemas</a>`}>
      <${Trouble} error=${error} />
      ${newer ? html`<${Panel} label="Versions">
        ${versions.length > 1 ? html`<div class="bar">${pick(older ?? newer, setLeft, 'From')}${pick(newer, setRight, 'to')}</div>` : html`<div class="bar"><span class="note">version ${newer.version}, id ${newer.id}</span></div>`}
        ${two ? html`<${Readers} subject=${subject} from=${older.version} to=${newer.version} />` : null}
        ${two ? html`<${Diff} before=${older.text} after=${newer.text} />` : html`<pre class="payload" tabindex="0" aria-label="Schema">${newer.text}</pre>`}
        ${newer.references?.length ? html`<p class="hint">References: ${newer.references.map((r, i) => html`${i ? ', ' : ''}<a key=${r.name} href=${to('schemas', r.subject)}><${Name} of=${r.subject} /></a> version ${r.version}`)}</p>` : null}
      </${Panel}>` : null}
    </${Page}>`;
}

// Whether each of two versions can read data written with the other.
function Readers({ subject, from, to: newer }) {
  const { answer, error, loading } = useAnswer((signal) => get('schema/compare', { subject, from, to: newer }, signal), [subject, from, newer].join());
  if (error) return html`<${Trouble} error=${error} />`;
  if (!answer || loading) return html`<dl class="keys readers"><div><dt>Comparing…</dt><dd></dd></div></dl>`;
  const ways = [[newer, from, 'backward'], [from, newer, 'forward']];
  return html`<dl class="keys readers">${ways.map(([reader, writer, way]) => html`<div key=${way}>
    <dt>Version ${reader} can read data of version ${writer} (${way})</dt>
    <dd>${answer[way].length ? html`<span class="bad-text">no</span>: ${answer[way].join('; ')}` : html`<span class="ok-text">yes</span>`}</dd></div>`)}</dl>`;
}

const kind = (type) => ({ AVRO: 'Avro', PROTOBUF: 'Protobuf', JSON: 'JSON Schema' })[type] ?? type;

function Diff({ before, after }) {
  const lines = compare(before.split('\n'), after.split('\n'));
  const words = { '+': 'added', '-': 'removed' };
  return html`<pre class="diff" tabindex="0" aria-label="Difference">${lines.map(([sign, text], i) => html`<span key=${i} class=${words[sign] ?? ''}>${words[sign] ? html`<span class="sr">${words[sign]}: </span>` : null}${sign} ${text}</span>`)}</pre>`;
}

// A line diff by longest common subsequence: each line with +, - or a space.
function compare(a, b) {
  const length = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--) length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
  const out = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { out.push([' ', a[i]]); i++; j++; } else if (i < a.length && (j >= b.length || length[i + 1][j] >= length[i][j + 1])) out.push(['-', a[i++]]);
    else out.push(['+', b[j++]]);
  }
  return out;
}
