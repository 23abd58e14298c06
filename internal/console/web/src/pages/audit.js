import { useState } from 'preact/hooks';
import { html } from '../html.js';
import { get } from '../api.js';
import { Empty, Page, Panel, Search, Trouble, f, useAnswer, useDebounced } from '../parts.js';

const spans = [[1, 'last hour'], [24, 'last 24 hours'], [24 * 7, 'last 7 days'], [0, 'everything']];

// Who has done what: the audit trail of the data directory, newest first.
export function Audit({ info }) {
  const [hours, setHours] = useState(24);
  const [what, setWhat] = useState('');
  const [failed, setFailed] = useState(false);
  const [text, setText] = useState('');
  const q = useDebounced(text, 300);
  const { answer, error, loading, again } = useAnswer((signal) => get('audit', { hours, what, failed: failed || '', q }, signal), [hours, what, failed, q].join('\n'));
  const rows = answer?.deeds ?? [];
  const note = !answer ? 'loading…' : (answer.matched > rows.length ? `the newest ${f.count(rows.length)} of ${f.plural(answer.matched, 'entry', 'entries')}` : f.plural(rows.length, 'entry', 'entries'))
    + (answer.unreadable ? `; ${f.plural(answer.unreadable, 'line')} cannot be read` : '');
  return html`
    <${Page} title="Audit" lead="Who has logged in, and who has changed what; weir audit shows the same"
      tools=${html`<${Search} value=${text} onInput=${setText} label="Search the audit trail" placeholder="User, address, name  /" />`}>
      <${Trouble} error=${error ?? (info && !info.audit ? 'Only operators and administrators may see the audit trail of an embedded broker.' : null)} />
      <${Panel} label="Audit trail">
        <div class="bar">
          <label class="inline">Time <select value=${hours} onChange=${(e) => setHours(Number(e.target.value))}>${spans.map(([h, name]) => html`<option key=${h} value=${h}>${name}</option>`)}</select></label>
          <label class="inline">Kind <select value=${what} onChange=${(e) => setWhat(e.target.value)}><option value="">all</option>${(answer?.kinds ?? []).map((k) => html`<option key=${k} value=${k}>${k}</option>`)}</select></label>
          <label class="inline"><input type="checkbox" checked=${failed} onChange=${(e) => setFailed(e.target.checked)} /> refused or failed</label>
          <button onClick=${again} disabled=${loading}>Refresh</button>
          <span class="note" role="status">${note}</span>
        </div>
        ${answer && !rows.length ? html`<${Empty}>Nothing matches.</${Empty}>` : null}
        ${rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Audit trail"><table>
          <thead><tr><th>Time</th><th>Who</th><th>Kind</th><th>What</th><th>Outcome</th><th class="opt">From</th></tr></thead>
          <tbody>${rows.map((d, i) => html`<tr key=${i}>
            <td class="dim">${f.stamp(Date.parse(d.at))}</td><td>${d.who ? html`<bdi class="mono">${d.who}</bdi>` : html`<span class="dim">nobody</span>`}</td>
            <td>${d.what}</td><td class="wrap"><bdi>${d.on}</bdi></td>
            <td class=${d.error ? 'wrap bad-text' : 'dim'}>${d.error ? html`✕ <bdi>${d.error}</bdi>` : 'done'}</td><td class="dim opt mono">${d.from}</td></tr>`)}</tbody>
        </table></div>` : null}
      </${Panel}>
    </${Page}>`;
}
