import { useState } from 'preact/hooks';
import { html } from '../html.js';
import { get, post } from '../api.js';
import { to } from '../route.js';
import { Confirm, Empty, Hex, Name, Page, Panel, Payload, Search, Tabs, Trouble, f, useAnswer, useDebounced } from '../parts.js';

export function Letters({ info }) {
  const [topic, setTopic] = useState('');
  const [text, setText] = useState('');
  const [pending, setPending] = useState(false);
  const [chosen, choose] = useState('');
  const [asked, askFirst] = useState(null);
  const [done, setDone] = useState('');
  const [trouble, setTrouble] = useState(null);
  const [busy, setBusy] = useState(false);
  const reason = useDebounced(text, 300);
  const { answer, error, loading, again } = useAnswer((signal) => get('letters', { topic, reason, pending }, signal), [topic, reason, pending].join('\n'));
  const name = topic || answer?.topic || '';
  const letter = answer?.rows.find((l) => l.partition + ':' + l.offset === chosen);

  const dry = async () => {
    setTrouble(null);
    setDone('');
    try { askFirst(await post('letters/replay', { topic: name, reason, dry: true })); } catch (e) { setTrouble(e); }
  };
  const replay = async () => {
    setBusy(true);
    try {
      const r = await post('letters/replay', { topic: name, reason });
      setDone(`${f.plural(r.replayed, 'dead letter')} replayed${r.earlier ? `, ${f.count(r.earlier)} replayed earlier` : ''}${r.skipped.length ? `, ${f.count(r.skipped.length)} cannot be replayed` : ''}.`);
      again();
    } catch (e) { setTrouble(e); }
    setBusy(false);
    askFirst(null);
  };

  return html`
    <${Page} title="Dead letters" lead="Records that failed processing, with payload and cause"
      tools=${info?.write ? html`<button type="button" onClick=${dry} disabled=${!answer?.total}>Replay…</button>` : html`<span class="note">read-only: start weir with --console-write to replay</span>`}>
      <${Trouble} error=${error ?? trouble} />
      ${done ? html`<p class="done" role="status">${done}</p>` : null}
      ${asked ? html`<${Confirm} title="Replay dead letters?" action=${`Replay ${f.plural(asked.replayed, 'dead letter')}`} onYes=${replay} onNo=${() => askFirst(null)} busy=${busy}>
        <p>${f.plural(asked.replayed, 'dead letter')} of <${Name} of=${name} />${reason ? ` with “${reason}” in the reason` : ''} will be written back to the original topics. Each is marked as replayed in the same transaction, so that none is replayed twice.</p>
        ${asked.earlier || asked.skipped.length ? html`<p class="hint">${f.count(asked.earlier)} were replayed earlier; ${f.count(asked.skipped.length)} cannot be replayed because they are rows of a file or were truncated.</p>` : null}
      </${Confirm}>` : null}
      <div class=${'grid ' + (letter ? 'two' : '')}>
        <${Panel} label="Dead letters">
          <div class="bar">
            <label class="inline">Topic <select value=${name} onChange=${(e) => { setTopic(e.target.value); choose(''); }}>${(answer?.topics ?? []).map((t) => html`<option key=${t.name} value=${t.name}>${t.name} (${f.short(t.records)})</option>`)}</select></label>
            <${Tabs} label="Filter" value=${pending} onChange=${setPending} options=${[[false, 'all'], [true, 'not replayed']]} />
            <${Search} value=${text} onInput=${setText} label="Search reasons" />
            <span class="note" role="status">${loading ? 'loading…' : answer ? `${f.plural(answer.total, 'dead letter')}${answer.more ? `, newest ${answer.rows.length} shown` : ''}` : ''}</span>
          </div>
          ${answer && !answer.rows.length ? html`<${Empty}>No dead letters.</${Empty}>` : null}
          ${answer?.rows.length ? html`<div class="scroll tall" tabindex="0" role="region" aria-label="Dead letters"><table class="records">
            <thead><tr><th>Time</th><th>Reason</th><th>Origin</th><th>Key</th></tr></thead>
            <tbody>${answer.rows.map((l) => {
    const id = l.partition + ':' + l.offset;
    return html`<tr key=${id} class=${id === chosen ? 'open' : ''}>
                <td class="dim" title=${f.moment(l.t)}>${f.stamp(l.t)}</td>
                <td class="wrap"><button type="button" class="link" aria-pressed=${id === chosen} onClick=${() => choose(id === chosen ? '' : id)}>${l.reason}</button>${l.replayed ? html` <span class="tag">replayed</span>` : null}</td>
                <td class="dim">${l.source ? `source ${l.source}` : `${l.topic} ${l.origin_partition}:${l.origin_offset}`}</td><td><${Payload} of=${l.key} /></td></tr>`;
  })}</tbody>
          </table></div>` : null}
        </${Panel}>
        ${letter ? html`<${Letter} of=${letter} onClose=${() => choose('')} />` : null}
      </div>
    </${Page}>`;
}

function Letter({ of, onClose }) {
  const [view, setView] = useState('hex');
  return html`
    <${Panel} title="Dead letter" note=${`${of.partition}:${of.offset}`} tools=${html`<button type="button" class="quiet" onClick=${onClose}>Close</button>`} className="letter">
      <p class="reason">${of.reason}</p>
      <dl class="keys">
        <div><dt>Origin</dt><dd>${of.source ? html`source <${Name} of=${of.source} />, for topic ` : null}<a href=${to('topic', of.topic)}><${Name} of=${of.topic} /></a>${of.origin_partition >= 0 ? ` ${of.origin_partition}:${of.origin_offset}` : ''}</dd></div>
        <div><dt>Time</dt><dd>${f.moment(of.t)}</dd></div>
        <div><dt>Attempt</dt><dd>${of.attempt}${of.replayed ? ', replayed' : ''}</dd></div>
        <div><dt>Key</dt><dd><${Payload} of=${of.key} /></dd></div>
        <div><dt>Size</dt><dd>${f.bytes(of.value?.size ?? 0)}${of.truncated ? `, truncated from ${f.bytes(of.truncated)}` : ''}</dd></div>
      </dl>
      ${of.unsendable ? html`<p class="hint">Cannot be replayed: ${of.unsendable}.</p>` : null}
      <div class="bar"><${Tabs} label="Value as" value=${view} onChange=${setView} options=${[['hex', 'Bytes'], ['text', 'Text']]} /></div>
      ${view === 'hex' ? html`<${Hex} bytes=${of.bytes} label="Bytes of the value" />` : html`<${Payload} of=${of.value} whole />`}
      ${of.headers?.length ? html`<h3>Headers</h3><dl class="keys">${of.headers.map((h, i) => html`<div key=${i}><dt class="mono">${h.key}</dt><dd><${Payload} of=${h.value} /></dd></div>`)}</dl>` : null}
    </${Panel}>`;
}
