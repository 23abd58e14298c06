import { useEffect, useState } from 'preact/hooks';
import { html } from '../html.js';
import { get, post } from '../api.js';
import { Confirm, Empty, Name, Page, Panel, Trouble, f, useAnswer } from '../parts.js';

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
  const ending = async (verb) => {
    setBusy(true);
    setError(null);
    const { hanging, transactional_id, producer_id, producer_epoch } = asked;
    try {
      await post('transactions/' + verb, hanging ? { producer_id, producer_epoch } : { transactional_id });
      setDone(`${verb === 'commit' ? 'Committed' : 'Aborted'} the transaction of ${transactional_id || 'producer ' + producer_id}.`);
    } catch (e) { setError(e); }
    setBusy(false);
    ask(null);
  };
  const cancel = () => ask(null);
  return html`
    <${Page} title="Transactions" lead="Open transactions block read_committed readers of their partitions" tools=${info?.write ? null : html`<span class="note">read-only: start weir with --console-write to end transactions</span>`}>
      <${Trouble} error=${error} />
      ${done ? html`<p class="done" role="status">${done}</p>` : null}
      ${asked?.hanging ? html`<${Hanging} key=${asked.producer_id + '·' + asked.producer_epoch} of=${asked} busy=${busy} onEnd=${ending} onNo=${cancel} />` : null}
      ${asked && !asked.hanging ? html`<${Confirm} title="Abort this transaction?" action="Abort" onYes=${() => ending('abort')} onNo=${cancel} busy=${busy}>
        <p>Everything that <${Name} of=${asked.transactional_id} /> has written in the last ${f.seconds(asked.age_seconds)} is discarded. Its producer is fenced and, if still running, must restart its session.</p>
      </${Confirm}>` : null}
      <${Panel} label="Open transactions">
        ${open && !open.length ? html`<${Empty}>No open transactions.</${Empty}>` : null}
        ${open?.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Open transactions"><table>
          <thead><tr><th>Transactional id</th><th>State</th><th class="num">Age</th><th class="num">Timeout</th><th class="num">Producer</th><th>Blocks</th><th></th></tr></thead>
          <tbody>${open.map((t) => html`<tr key=${t.transactional_id + t.producer_id}>
            <td>${t.transactional_id ? html`<${Name} of=${t.transactional_id} />` : html`<span class="bad-text">hanging: unknown to every coordinator</span>`}</td><td>${t.state}</td>
            <td class=${'num' + (t.timeout_seconds && t.age_seconds > t.timeout_seconds / 2 ? ' warn-text' : '')}>${f.seconds(t.age_seconds)}</td><td class="num">${t.timeout_seconds ? f.seconds(t.timeout_seconds) : 'never'}</td><td class="num dim">${t.producer_id}·${t.producer_epoch}</td>
            <td class="wrap">${t.partitions.map((p) => html`<span key=${p.topic + p.partition} class="tag">${p.topic} ${p.partition}${p.behind ? ` · ${f.short(p.behind)} blocked` : ''}</span> `)}</td>
            <td>${info?.write ? html`<button type="button" class="danger small" onClick=${() => { setDone(''); ask(t); }}>${t.hanging ? 'Finish…' : 'Abort…'}</button>` : null}</td></tr>`)}</tbody>
        </table></div>` : null}
      </${Panel}>
    </${Page}>`;
}

const endings = {
  committed: { verb: 'commit', action: 'Commit', text: 'It was committed. Committing it here too shows its remaining records to readers.' },
  aborted: { verb: 'abort', action: 'Abort', text: 'It was aborted. Aborting it here too discards its remaining records.' },
  contradictory: { text: 'Neither a commit nor an abort is right for all of its records: stop what writes and reads these topics, and begin again with weir run --reset.' },
  unknown: { text: 'Nothing shows how it ended elsewhere. Look at the logs of the partitions that it wrote to; if it was not committed, weir transactions abort --force ends it.' },
};

// Hanging looks for how a hanging transaction ended elsewhere, and offers to end it in the same way.
function Hanging({ of, busy, onEnd, onNo }) {
  const which = { producer_id: of.producer_id, producer_epoch: of.producer_epoch };
  const { answer, error } = useAnswer((signal) => get('transactions/hanging', which, signal), of.producer_id + '·' + of.producer_epoch);
  const ending = answer && (endings[answer.evidence?.outcome] ?? endings.unknown);
  return html`
    <${Confirm} title="Finish this hanging transaction?" action=${ending?.action} onYes=${() => onEnd(ending.verb)} onNo=${onNo} busy=${busy}>
      <p>Some partitions never got the end marker of a transaction of producer ${of.producer_id}. Readers of ${of.partitions.map((p) => `${p.topic} ${p.partition}`).join(', ')} wait for it.</p>
      <${Trouble} error=${error} />
      ${!answer && !error ? html`<p role="status">Searching the logs for how it ended…</p>` : null}
      ${answer ? html`<p>${ending.text}</p><p class="note">${answer.explained}</p>` : null}
    </${Confirm}>`;
}
