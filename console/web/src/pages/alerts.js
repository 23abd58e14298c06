import { html } from '../html.js';
import { get } from '../api.js';
import { Empty, Name, Page, Panel, State, Trouble, f, useAnswer } from '../parts.js';

export function Alerts() {
  const { answer, error } = useAnswer((signal) => get('alerts', null, signal), 'alerts');
  const rows = answer?.alerts ?? [];
  return html`
    <${Page} title="Alerts" lead="Pipelines whose rows have a severity and a summary">
      <${Trouble} error=${error} />
      <${Panel} label="Alerts">
        ${answer && !rows.length ? html`<${Empty}>No alert fires.</${Empty}>` : null}
        ${rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Alerts"><table>
          <thead><tr><th>State</th><th>Severity</th><th>Summary</th><th>Key</th><th>Pipeline</th><th>Since</th></tr></thead>
          <tbody>${rows.map((a) => html`<tr key=${a.id}><td><${State} is=${a.state} /></td><td>${a.severity}</td><td class="wrap"><bdi>${a.summary}</bdi></td><td><${Name} of=${a.key} /></td><td>${a.pipeline}</td><td>${f.moment(a.since)}</td></tr>`)}</tbody>
        </table></div>` : null}
      </${Panel}>
    </${Page}>`;
}
