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
      setDone(`${f.plural(r.replayed, 'letter')} sent back${r.earlier ? `, ${f.count(r.earlier)} were sent earlier` : ''}${r.skipped.length ? `, ${f.count(r.skipped.length)} can't be sent` : ''}.`);
      again();
    } catch (e) { setTrouble(e); }
    setBusy(false);
    askFirst(null);
  };

  return html`
    <${Page} title="Dead letters" lead="What could not be processed, with its bytes and the reason"
      tools=${info?.write ? html`<button type="button" onClick=${dry} disabled=${!answer?.total}>Send back…</button>` : html`<span class="note">read only: --console-write lets you send them back</span>`}>
      <${Trouble} error=${error ?? trouble} />
      ${done ? html`<p class="done" role="status">${done}</p>` : null}
      ${asked ? html`<${Confirm} title="Send dead letters back?" action=${`Send ${f.plural(asked.replayed, 'letter')}`} onYes=${replay} onNo=${() => askFirst(null)} busy=${busy}>
        <p>${f.plural(asked.replayed, 'letter')} of <${Name} of=${name} />${reason ? ` with “${reason}” in the reason` : ''} go back to the topics that they came from, in one transaction with a mark, so that none is sent twice.</p>
        ${asked.earlier || asked.skipped.length ? html`<p class="hint">${f.count(asked.earlier)} were sent back earlier, ${f.count(asked.skipped.length)} can't be: they are rows of a file, or were cut.</p>` : null}
      </${Confirm}>` : null}
      <div class=${'grid ' + (letter ? 'two' : '')}>
        <${Panel} label="Letters">
          <div class="bar">
            <label class="inline">Topic <select value=${name} onChange=${(e) => { setTopic(e.target.value); choose(''); }}>${(answer?.topics ?? []).map((t) => html`<option key=${t.name} value=${t.name}>${t.name} (${f.short(t.records)})</option>`)}</select></label>
            <${Tabs} label="Which" value=${pending} onChange=${setPending} options=${[[false, 'all'], [true, 'not sent back']]} />
            <${Search} value=${text} onInput=${setText} label="Find in the reason" />
            <span class="note" role="status">${loading ? 'reading…' : answer ? `${f.plural(answer.total, 'letter')}${answer.more ? `, the newest ${answer.rows.length} shown` : ''}` : ''}</span>
          </div>
          ${answer && !answer.rows.length ? html`<${Empty}>No dead letters. That is how it should be.</${Empty}>` : null}
          ${answer?.rows.length ? html`<div class="scroll tall" tabindex="0" role="region" aria-label="Letters"><table class="records">
            <thead><tr><th>Time</th><th>Reason</th><th>From</th><th>Key</th><th></th></tr></thead>
            <tbody>${answer.rows.map((l) => {
    const id = l.partition + ':' + l.offset;
    return html`<tr key=${id} class=${id === chosen ? 'open' : ''}>
                <td class="dim" title=${f.moment(l.t)}>${f.stamp(l.t)}</td>
                <td class="wrap"><button type="button" class="link" aria-pressed=${id === chosen} onClick=${() => choose(id === chosen ? '' : id)}>${l.reason}</button></td>
                <td class="dim">${l.source ? `source ${l.source}` : `${l.topic} ${l.origin_partition}:${l.origin_offset}`}</td><td><${Payload} of=${l.key} /></td><td>${l.replayed ? html`<span class="tag">sent back</span>` : null}</td></tr>`;
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
    <${Panel} title="Letter" note=${`${of.partition}:${of.offset}`} tools=${html`<button type="button" class="quiet" onClick=${onClose}>Close</button>`} className="letter">
      <p class="reason">${of.reason}</p>
      <dl class="keys">
        <div><dt>From</dt><dd>${of.source ? html`source <${Name} of=${of.source} />, meant for ` : null}<a href=${to('topic', of.topic)}><${Name} of=${of.topic} /></a>${of.origin_partition >= 0 ? ` ${of.origin_partition}:${of.origin_offset}` : ''}</dd></div>
        <div><dt>When</dt><dd>${f.moment(of.t)}</dd></div>
        <div><dt>Attempt</dt><dd>${of.attempt}${of.replayed ? ', sent back' : ''}</dd></div>
        <div><dt>Key</dt><dd><${Payload} of=${of.key} /></dd></div>
        <div><dt>Size</dt><dd>${f.bytes(of.value?.size ?? 0)}${of.truncated ? `, cut from ${f.bytes(of.truncated)}` : ''}</dd></div>
      </dl>
      ${of.unsendable ? html`<p class="hint">It can't be sent back: ${of.unsendable}.</p>` : null}
      <div class="bar"><${Tabs} label="Value as" value=${view} onChange=${setView} options=${[['hex', 'Bytes'], ['text', 'Text']]} /></div>
      ${view === 'hex' ? html`<${Hex} bytes=${of.bytes} label="Bytes of the value" />` : html`<${Payload} of=${of.value} whole />`}
      ${of.headers?.length ? html`<h3>Headers</h3><dl class="keys">${of.headers.map((h, i) => html`<div key=${i}><dt class="mono">${h.key}</dt><dd><${Payload} of=${h.value} /></dd></div>`)}</dl>` : null}
    </${Panel}>`;
}
