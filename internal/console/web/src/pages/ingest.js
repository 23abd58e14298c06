import { useEffect, useRef, useState } from 'preact/hooks';
import { html } from '../html.js';
import { get } from '../api.js';
import { to } from '../route.js';
import { Empty, Figure, Name, Page, Panel, State, Trouble, f } from '../parts.js';

const lead = 'Readings that devices and gateways send, until they are in Kafka';
const protocols = { http: 'HTTP', mqtt: 'MQTT broker', 'mqtt-source': 'other MQTT brokers' };

export function Ingest() {
  const [now, setNow] = useState(null);
  const [error, setError] = useState(null);
  const [held, hold] = useState(null);
  const before = useRef(null); // the answer of the last second
  useEffect(() => {
    let gone = false;
    let timer = 0;
    const look = async () => {
      if (!document.hidden) {
        try {
          const a = await get('ingest');
          if (!gone) { setNow((old) => { before.current = old; return { ...a, at: performance.now() }; }); setError(null); }
        } catch (e) { if (!gone) setError(e); }
      }
      if (!gone) timer = setTimeout(look, 1000);
    };
    look();
    return () => { gone = true; clearTimeout(timer); };
  }, []);
  if (!now || now.off) {
    return html`<${Page} title="Ingest" lead=${lead}><${Trouble} error=${error} />
      ${now ? html`<${Panel} label="Ingest"><${Empty}>This process takes no readings of devices. <code>weir up --mqtt :1883 --http :8086</code> does.</${Empty}></${Panel}>` : null}</${Page}>`;
  }
  const { spool, mqtt } = now;
  const samples = (held ?? now).samples ?? [];
  const rejected = now.rejected ?? [];
  const reasons = now.reasons ?? [];
  const total = (a, what) => Object.values(a?.protocols ?? {}).reduce((sum, p) => sum + p[what], 0);
  const perSecond = (of) => (before.current && !before.current.off ? (of(now) - of(before.current)) * 1000 / (now.at - before.current.at) : null);
  return html`
    <${Page} title="Ingest" lead=${lead} tools=${html`<span class="note">${(now.addresses ?? []).map((a) => html`<code key=${a}>${a}</code> `)}</span>`}>
      <${Trouble} error=${error} />
      ${now.problems.map((p) => html`<p key=${p} class="trouble" role="alert">${p}</p>`)}
      <div class="figures">
        <${Figure} label="Readings" value=${f.rate(perSecond((a) => total(a, 'readings')))} note=${`${f.count(total(now, 'readings'))} since the start`} />
        <${Figure} label="Not yet in Kafka" value=${f.short(spool.items)} note=${spool.items ? `the oldest for ${f.seconds(spool.age_ns / 1e9)}` : 'everything is in Kafka'} tone=${spool.age_ns > 30e9 ? 'warn' : ''} />
        <${Figure} label="Spool" value=${f.bytes(spool.bytes)} note=${`of at most ${f.bytes(spool.max_bytes)}`} />
        <${Figure} label="Dead letters" value=${f.count(total(now, 'rejected'))} note="parts of messages" href=${to('letters')} />
        <${Figure} label="Repeats" value=${f.count(spool.repeated)} note="not stored again" />
        <${Figure} label="Refused" value=${f.count(spool.refused)} note="for lack of room" tone=${spool.refused ? 'warn' : ''} />
      </div>
      <div class="grid two">
        <${Panel} title="Protocols">
          ${Object.keys(now.protocols).length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Protocols"><table>
            <thead><tr><th>From</th><th class="num">Messages</th><th class="num">per second</th><th class="num">Readings</th><th class="num">Dead letters</th><th class="num">Ignored</th></tr></thead>
            <tbody>${Object.entries(now.protocols).map(([name, p]) => html`<tr key=${name}><td>${protocols[name] ?? name}</td><td class="num">${f.count(p.messages)}</td>
              <td class="num">${f.rate(perSecond((a) => a.protocols[name]?.messages ?? 0))}</td><td class="num">${f.count(p.readings)}</td><td class="num">${f.count(p.rejected)}</td><td class="num">${f.count(p.ignored)}</td></tr>`)}</tbody>
          </table></div>` : html`<${Empty}>Nothing has arrived yet.</${Empty}>`}
          ${now.sources?.length ? html`<table><tbody>${now.sources.map((s) => html`<tr key=${s.name}><td><${State} is=${s.error ? 'retrying' : 'running'} /></td><td><${Name} of=${s.name} /></td><td class="wrap bad-text">${s.error ?? ''}</td></tr>`)}</tbody></table>` : null}
        </${Panel}>
        ${mqtt ? html`<${Broker} of=${mqtt} />` : null}
      </div>
      <${Panel} title="Messages" note="a sample, beside what the rules made of it" tools=${html`<button type="button" class="quiet" aria-pressed=${held !== null} onClick=${() => hold(held ? null : now)}>${held ? 'Resume' : 'Pause'}</button>`}>
        ${samples.length ? html`<${Samples} of=${samples} label="Messages" />` : html`<${Empty}>Nothing has arrived yet.</${Empty}>`}
      </${Panel}>
      ${reasons.length ? html`<${Panel} title="Why messages become dead letters">
        <div class="scroll" tabindex="0" role="region" aria-label="Reasons"><table><thead><tr><th class="num">Times</th><th>Reason</th></tr></thead>
          <tbody>${reasons.slice(0, 20).map((r) => html`<tr key=${r.reason}><td class="num">${f.count(r.count)}</td><td class="wrap"><bdi>${r.reason}</bdi></td></tr>`)}</tbody></table></div>
        ${rejected.length ? html`<${Samples} of=${rejected.slice(0, 5)} label="Messages with dead letters" />` : null}
      </${Panel}>` : null}
    </${Page}>`;
}

function Samples({ of, label }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}><table>
    <thead><tr><th>Time</th><th>From</th><th>Topic</th><th>Message</th><th>Rule</th><th>Readings</th></tr></thead>
    <tbody>${of.map((s, i) => html`<tr key=${s.at + i}>
      <td class="dim">${f.clock(Date.parse(s.at))}</td><td><${Name} of=${s.client} /></td><td><${Name} of=${s.topic} /></td>
      <td class="wrap"><code dir="auto">${s.payload.length > 300 ? s.payload.slice(0, 300) + '…' : s.payload}</code> <span class="dim">${f.bytes(s.bytes)}</span></td>
      <td class="dim">${s.rule ? html`<${Name} of=${s.rule} />` : ''}</td>
      <td class="wrap">${(s.readings ?? []).map((r, n) => html`<${Reading} key=${n} of=${r} />`)}${(s.rejected ?? []).map((r, n) => html`<div key=${'r' + n} class="bad-text">✕ <bdi>${r}</bdi></div>`)}${s.ignored ? html`<div class="dim">ignored: ${s.ignored}</div>` : null}${s.more_parts ? html`<div class="dim">and ${f.count(s.more_parts)} more</div>` : null}</td>
    </tr>`)}</tbody>
  </table></div>`;
}

function Reading({ of }) {
  let v;
  try { v = JSON.parse(of); } catch { return html`<div><code>${of}</code></div>`; }
  return html`<div><bdi>${v.device_id}</bdi> <span class="dim"><bdi>${v.sensor}</bdi></span> <b>${f.value(v.value)}</b> <bdi>${f.unit(v.unit ?? '')}</bdi></div>`;
}

function Broker({ of: b }) {
  const refused = Object.entries(b.refused ?? {});
  return html`<${Panel} title="MQTT broker" note=${`${f.plural(b.connections, 'client')}, ${f.plural(b.sessions, 'session')}, ${f.plural(b.subscriptions, 'subscription')}, ${f.count(b.retained)} retained`}>
    ${b.clients?.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="MQTT clients"><table>
      <thead><tr><th>Client</th><th>User</th><th>Address</th><th>MQTT</th><th class="num">In flight</th></tr></thead>
      <tbody>${b.clients.slice(0, 12).map((c) => html`<tr key=${c.id}><td><${Name} of=${c.id} /></td><td>${c.user ? html`<${Name} of=${c.user} />` : ''}</td><td class="dim">${c.remote}</td><td>${c.version}</td><td class="num">${f.count(c.in_flight)}</td></tr>`)}</tbody>
    </table></div>` : html`<${Empty}>No client is connected.</${Empty}>`}
    ${b.connections > 12 ? html`<p class="note">and ${f.count(b.connections - 12)} more</p>` : null}
    ${b.held ? html`<p class="trouble">${f.plural(b.held, 'message')} of MQTT 3.1.1 wait for room in the spool.</p>` : null}
    ${b.dropped || b.quota_exceeded || b.slow_dropped ? html`<p class="note">Dropped with QoS 0: ${f.count(b.dropped)}; refused with Quota exceeded: ${f.count(b.quota_exceeded)}; too fast for a subscriber: ${f.count(b.slow_dropped)}</p>` : null}
    ${refused.length ? html`<table><thead><tr><th class="num">Refused</th><th>Why</th></tr></thead><tbody>${refused.map(([why, n]) => html`<tr key=${why}><td class="num">${f.count(n)}</td><td class="wrap">${why}</td></tr>`)}</tbody></table>` : null}
  </${Panel}>`;
}
