import { useEffect } from 'preact/hooks';
import { html } from '../html.js';
import { get } from '../api.js';
import { to } from '../route.js';
import { Empty, Name, Page, Panel, State, Trouble, f, useAnswer } from '../parts.js';

const every = 3000;

export function Alerts() {
  const { answer, error, again } = useAnswer((signal) => get('alerts', null, signal), 'alerts');
  useEffect(() => {
    const t = setInterval(() => { if (!document.hidden) again(); }, every);
    return () => clearInterval(t);
  }, []);
  const rows = answer?.alerts ?? [];
  const silences = answer?.silences ?? [];
  const firing = rows.filter((a) => a.status === 'firing').length;
  return html`
    <${Page} title="Alerts" lead=${answer ? `${f.count(firing)} firing${rows.length > firing ? `, ${f.count(rows.length - firing)} resolved lately` : ''}` : 'Pipelines whose rows have a severity and a summary'}>
      <${Trouble} error=${error} />
      <${Panel} label="Alerts">
        ${answer && !rows.length ? html`<${Empty}>No alert fires. <code>weir run FILE --alerts alerts.yaml</code> tells of them.</${Empty}>` : null}
        ${rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Alerts"><table>
          <thead><tr><th>State</th><th>Severity</th><th>Summary</th><th>Of</th><th>Pipeline</th><th>Since</th><th>Told</th></tr></thead>
          <tbody>${rows.map((a) => html`<tr key=${a.id}>
            <td><${State} is=${a.status} /></td><td class=${a.status === 'firing' ? (a.severity === 'critical' ? 'bad-text' : 'warn-text') : ''}>${a.severity}</td><td class="wrap"><bdi>${a.summary}</bdi></td>
            <td class="wrap">${Object.entries(a.labels ?? {}).filter(([k]) => k !== 'alertname' && k !== 'severity').map(([k, v]) => html`<span key=${k} class="tag">${k} <bdi>${v}</bdi></span> `)}</td>
            <td><a href=${to('pipelines', a.name)}><${Name} of=${a.name} /></a></td><td class="dim">${f.moment(Date.parse(a.since))}</td>
            <td class="wrap dim">${Object.entries(a.sent ?? {}).map(([k, s]) => `${k} (${s.status})`).join(', ') || 'nobody yet'}</td></tr>`)}</tbody>
        </table></div>` : null}
      </${Panel}>
      ${silences.length ? html`<${Panel} title="Silences"><div class="scroll" tabindex="0" role="region" aria-label="Silences"><table>
        <thead><tr><th>Of</th><th>Until</th><th>Comment</th></tr></thead>
        <tbody>${silences.map((s) => html`<tr key=${s.id}><td>${Object.entries(s.match ?? {}).map(([k, v]) => html`<span key=${k} class="tag">${k} <bdi>${v}</bdi></span> `)}</td><td class="dim">${f.moment(Date.parse(s.until))}</td><td class="wrap"><bdi>${s.comment}</bdi></td></tr>`)}</tbody>
      </table></div></${Panel}>` : null}
    </${Page}>`;
}
