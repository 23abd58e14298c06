import { useEffect, useState } from 'preact/hooks';
import { html } from '../html.js';
import { get, post } from '../api.js';
import { Confirm, Empty, Name, Page, Panel, Trouble, f } from '../parts.js';

export function Transactions({ info }) {
  const [open, setOpen] = useState(null);
  const [error, setError] = useState(null);
  const [asked, ask] = useState(null);
  const [busy, setBusy] = useState(false);
  const [done, setDone] = useState('');
  useEffect(() => {
    let gone = false;
    let timer = 0;
    const look = async () => {
      if (!document.hidden) {
        try {
          const a = await get('transactions');
          if (!gone) { setOpen(a.open); setError(null); }
        } catch (e) { if (!gone) setError(e); }
      }
      if (!gone) timer = setTimeout(look, 1000);
    };
    look();
    return () => { gone = true; clearTimeout(timer); };
  }, []);
  const abort = async () => {
    setBusy(true);
    try {
      await post('transactions/abort', asked.hanging ? { producer_id: asked.producer_id } : { transactional_id: asked.transactional_id });
      setDone(`Aborted the transaction of ${asked.transactional_id || 'producer ' + asked.producer_id}.`);
    } catch (e) { setError(e); }
    setBusy(false);
    ask(null);
  };
  return html`
    <${Page} title="Transactions" lead="Open transactions block read_committed readers of their partitions" tools=${info?.write ? null : html`<span class="note">read-only: start weir with --console-write to abort</span>`}>
      <${Trouble} error=${error} />
      ${done ? html`<p class="done" role="status">${done}</p>` : null}
      ${asked ? html`<${Confirm} title="Abort this transaction?" action="Abort" onYes=${abort} onNo=${() => ask(null)} busy=${busy}>
        <p>Everything that <${Name} of=${asked.transactional_id || 'producer ' + asked.producer_id} /> has written in the last ${f.seconds(asked.age_seconds)} is discarded. Its producer is fenced and, if still running, must restart its session.</p>
      </${Confirm}>` : null}
      <${Panel} label="Open transactions">
        ${open && !open.length ? html`<${Empty}>No open transactions.</${Empty}>` : null}
        ${open?.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Open transactions"><table>
          <thead><tr><th>Transactional id</th><th>State</th><th class="num">Age</th><th class="num">Timeout</th><th class="num">Producer</th><th>Blocks</th><th></th></tr></thead>
          <tbody>${open.map((t) => html`<tr key=${t.transactional_id + t.producer_id}>
            <td>${t.transactional_id ? html`<${Name} of=${t.transactional_id} />` : html`<span class="bad-text">hanging: unknown to every coordinator</span>`}</td><td>${t.state}</td>
            <td class=${'num' + (t.timeout_seconds && t.age_seconds > t.timeout_seconds / 2 ? ' warn-text' : '')}>${f.seconds(t.age_seconds)}</td><td class="num">${t.timeout_seconds ? f.seconds(t.timeout_seconds) : 'never'}</td><td class="num dim">${t.producer_id}·${t.producer_epoch}</td>
            <td class="wrap">${t.partitions.map((p) => html`<span key=${p.topic + p.partition} class="tag">${p.topic} ${p.partition}${p.behind ? ` · ${f.short(p.behind)} blocked` : ''}</span> `)}</td>
            <td>${info?.write ? html`<button type="button" class="danger small" onClick=${() => { setDone(''); ask(t); }}>Abort…</button>` : null}</td></tr>`)}</tbody>
        </table></div>` : null}
      </${Panel}>
    </${Page}>`;
}
