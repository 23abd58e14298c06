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
    <${Page} title="Schemas" lead=${answer?.registry ? html`registry at ${answer.registry}${answer.compatibility ? `, compatibility ${answer.compatibility}` : ''}` : ''} tools=${html`<${Search} value=${text} onInput=${setText} label="Search subjects" />`}>
      <${Trouble} error=${error ?? answer?.error} />
      <${Panel} label="Subjects">
        ${answer && !answer.registry ? html`<${Empty}>No schema registry is set.</${Empty}>` : answer && !rows.length ? html`<${Empty}>No subject is registered${text ? ' that matches' : ''}.</${Empty}>` : null}
        ${rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Subjects"><table>
          <thead><tr><th>Subject</th><th>Versions</th><th>Compatibility</th></tr></thead>
          <tbody>${rows.map((s) => html`<tr key=${s.name}><td><a href=${to('schemas', s.name)}><${Name} of=${s.name} /></a></td><td>${s.versions.join(', ')}</td><td>${s.compatibility}</td></tr>`)}</tbody>
        </table></div>` : null}
      </${Panel}>
    </${Page}>`;
}

const pretty = (s) => {
  if (s.type === 'PROTOBUF') return s.text;
  try { return JSON.stringify(JSON.parse(s.text), null, 2); } catch { return s.text; }
};

function Subject({ subject }) {
  const { answer, error } = useAnswer((signal) => get('schema', { subject }, signal), subject);
  const versions = answer?.versions ?? [];
  const [right, setRight] = useState(0);
  const [left, setLeft] = useState(0);
  const newer = versions.find((v) => v.version === right) ?? versions[versions.length - 1];
  const older = versions.find((v) => v.version === left) ?? versions[versions.indexOf(newer) - 1];
  const pick = (value, set, label) => html`<label class="inline">${label} <select value=${value?.version} onChange=${(e) => set(Number(e.target.value))}>${versions.map((v) => html`<option key=${v.version} value=${v.version}>version ${v.version}</option>`)}</select></label>`;
  return html`
    <${Page} title=${html`<${Name} of=${subject} />`} lead=${newer ? `${f.plural(versions.length, 'version')}, ${newer.type.toLowerCase()}, id ${newer.id}` : ''} tools=${html`<a class="button" href=${to('schemas')}>All schemas</a>`}>
      <${Trouble} error=${error} />
      ${newer ? html`<${Panel} label="Versions">
        ${versions.length > 1 ? html`<div class="bar">${pick(older, setLeft, 'From')}${pick(newer, setRight, 'to')}</div>` : null}
        ${older && older !== newer ? html`<${Diff} before=${pretty(older)} after=${pretty(newer)} />` : html`<pre class="payload" tabindex="0">${pretty(newer)}</pre>`}
      </${Panel}>` : null}
    </${Page}>`;
}

function Diff({ before, after }) {
  const lines = compare(before.split('\n'), after.split('\n'));
  const words = { '+': 'added', '-': 'removed' };
  return html`<pre class="diff" tabindex="0" aria-label="Difference">${lines.map(([sign, text], i) => html`<span key=${i} class=${words[sign] ?? ''}>${words[sign] ? html`<span class="sr">${words[sign]}: </span>` : null}${sign} ${text}\n</span>`)}</pre>`;
}

// The lines of both texts in order, each with +, - or a space: the longest common subsequence.
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
