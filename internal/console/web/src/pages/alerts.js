import { useEffect, useState } from 'preact/hooks';
import { html } from '../html.js';
import { get } from '../api.js';
import { to } from '../route.js';
import { Empty, Name, Page, Panel, Search, State, Tabs, Trouble, f, useAnswer, useDebounced } from '../parts.js';

const every = 3000;
const states = ['firing', 'silenced', 'resolved'];

export function Alerts() {
  const [state, setState] = useState('');
  const [text, setText] = useState('');
  const q = useDebounced(text, 300);
  const { answer, error, again } = useAnswer((signal) => get('alerts', { state, q }, signal), [state, q].join('\n'));
  useEffect(() => {
    const t = setInterval(() => { if (!document.hidden) again(); }, every);
    return () => clearInterval(t);
  }, []);
  const rows = answer?.alerts ?? [];
  const counts = answer?.counts ?? {};
  const known = states.some((s) => counts[s]);
  return html`
    <${Page} title="Alerts" lead="Alerts of pipelines whose rows have a severity and a summary; resolved alerts are shown for an hour"
      tools=${html`<${Search} value=${text} onInput=${setText} label="Search alerts" placeholder="Search alerts  /" />`}>
      <${Trouble} error=${error} />
      <${Panel} label="Alerts">
        <div class="bar">
          <${Tabs} label="State" value=${state} onChange=${setState} options=${[['', html`all`], ...states.map((s) => [s, html`<${State} is=${s} /> <b>${f.count(counts[s])}</b>`])]} />
          <span class="note" role="status">${!answer ? 'loading…' : answer.matched > rows.length ? `the newest ${rows.length} of ${f.count(answer.matched)}` : ''}</span>
        </div>
        ${answer && !rows.length ? html`<${Empty}>${known ? 'No matching alerts.' : html`No alerts are firing. <code>weir run FILE --alerts alerts.yaml</code> sends notifications.`}</${Empty}>` : null}
        ${rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Alerts"><table>
          <thead><tr><th>State</th><th>Severity</th><th>Summary</th><th class="opt">Labels</th><th>Pipeline</th><th>Since</th><th>Resolved</th><th>Notified</th></tr></thead>
          <tbody>${rows.map((a) => html`<${Row} key=${a.id} of=${a} />`)}</tbody>
        </table></div>` : null}
      </${Panel}>
      ${answer?.silences.length ? html`<${Panel} title="Silences" note="weir alerts silence creates one"><div class="scroll" tabindex="0" role="region" aria-label="Silences"><table>
        <thead><tr><th>Matches</th><th>Until</th><th>Comment</th></tr></thead>
        <tbody>${answer.silences.map((s, i) => html`<tr key=${s.id || i}><td><${Labels} of=${s.match} /></td><td class="dim">${f.moment(Date.parse(s.until))}</td><td class="wrap"><bdi>${s.comment}</bdi></td></tr>`)}</tbody>
      </table></div></${Panel}>` : null}
    </${Page}>`;
}

const Labels = ({ of, but = [] }) => Object.entries(of ?? {}).filter(([k]) => !but.includes(k)).map(([k, v]) => html`<span key=${k} class="tag">${k} <bdi>${v}</bdi></span> `);

function Row({ of: a }) {
  const state = a.silenced && a.status === 'firing' ? 'silenced' : a.status;
  const notified = Object.entries(a.sent ?? {}).map(([k, s]) => `${k} (${s.status}${s.n > 1 ? `, ${s.n} times` : ''})`).join(', ');
  const failing = Object.entries(a.failing ?? {});
  const tone = state === 'firing' ? (a.severity === 'critical' ? 'bad-text' : 'warn-text') : '';
  return html`<tr>
    <td><${State} is=${state} /></td><td class=${tone}>${a.severity}</td><td class="wrap"><bdi>${a.summary}</bdi></td>
    <td class="wrap opt"><${Labels} of=${a.labels} but=${['alertname', 'severity']} /></td>
    <td><a href=${to('pipelines', a.name)}><${Name} of=${a.name} /></a></td><td class="dim">${f.stamp(Date.parse(a.since))}</td>
    <td class="dim">${a.resolved_at ? f.stamp(Date.parse(a.resolved_at)) : ''}</td>
    <td class="wrap dim">${notified || (failing.length ? '' : state === 'silenced' ? 'none (silenced)' : 'none yet')}
      ${failing.map(([k, x]) => html`<div key=${k} class="bad-text" title=${x.error}>▲ ${k} failing since ${f.stamp(Date.parse(x.since))}, ${f.plural(x.attempts, 'attempt')}: <bdi>${x.error}</bdi></div>`)}</td></tr>`;
}
