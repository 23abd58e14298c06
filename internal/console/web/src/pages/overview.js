import { useEffect, useMemo, useState } from 'preact/hooks';
import { html } from '../html.js';
import { frames, get } from '../api.js';
import { to } from '../route.js';
import { Chart } from '../chart.js';
import { Empty, Figure, Name, Page, Panel, State, f } from '../parts.js';

const keep = 600;
const tail = (points, key, n = 60) => points.slice(-n).map((p) => p[key]);

export function Overview() {
  const now = frames.overview.value;
  const [points, setPoints] = useState([]);
  useEffect(() => { get('overview').then((o) => setPoints(o.points ?? []), () => {}); }, []);
  useEffect(() => {
    const p = now?.now;
    if (!p?.t) return;
    setPoints((all) => (all.length && all[all.length - 1].t >= p.t ? all : [...all.slice(-keep + 1), p]));
  }, [now]);

  // Lines have gaps where the broker did not respond.
  const times = useMemo(() => points.map((p) => p.t / 1000), [points]);
  const column = (key, known = (v) => v) => points.map((p) => (p.gap ? null : known(p[key])));
  const positive = (v) => (v > 0 ? v : undefined);
  const throughput = useMemo(() => [times, column('in'), column('out')], [points]);
  const latency = useMemo(() => [times, column('p50', positive), column('p99', positive)], [points]);
  const lag = useMemo(() => [times, column('lag')], [points]);

  if (!now) return html`<${Page} title="Overview"><${Empty}>Waiting for data…</${Empty}></${Page}>`;
  const p = now.now;
  const flow = now.flow;
  return html`
    <${Page} title="Overview" lead=${flow ? html`${f.count(flow.produced)} readings in, ${f.count(flow.consumed)} processed, ${f.count(flow.transactions)} transactions in ${f.seconds(flow.elapsed)}` : 'Figures reported by the broker'}>
      <div class="figures">
        <${Figure} label="Readings in" value=${f.short(p.in)} unit="/s" spark=${tail(points, 'in')} />
        <${Figure} label="Processed" value=${f.short(p.out)} unit="/s" spark=${tail(points, 'out')} tone="t2" />
        <${Figure} label="Latency p99" value=${f.ms(p.p99)} note=${now.latency} spark=${tail(points, 'p99')} tone="t3" />
        <${Figure} label="Lag" value=${f.short(p.lag)} unit=" records" spark=${tail(points, 'lag')} tone="t4" />
        <${Figure} label="Open transactions" value=${p.open < 0 ? '–' : f.count(p.open)} spark=${tail(points, 'open')} tone="t5" href=${to('transactions')} />
        <${Figure} label="Dead letters" value=${f.short(now.dead_letters)} note="all dead-letter topics" href=${to('letters')} />
      </div>
      <div class="grid">
        <${Panel} title="Throughput" note="readings per second" className="wide">
          <${Chart} label="Throughput in readings per second" series=${[{ label: 'in', color: 1, fill: true }, { label: 'processed', color: 2 }]} data=${throughput} format=${f.short} min=${0} sync="overview" gaps height=${268} window=${60} />
        </${Panel}>
        <${Panel} title="Fleet" tools=${html`<a href=${to('devices')}>All devices</a>`}><${Fleet} of=${now.devices} /><${Cluster} of=${now} /></${Panel}>
        <${Panel} title="Latency" note=${now.latency}>
          <${Chart} label="Latency in milliseconds" series=${[{ label: 'p50', color: 3 }, { label: 'p99', color: 5 }]} data=${latency} format=${f.ms} min=${0} sync="overview" gaps height=${160} window=${60} />
        </${Panel}>
        <${Panel} title="Lag" note="records not yet read, all groups">
          <${Chart} label="Lag in records" series=${[{ label: 'lag', color: 4, fill: true }]} data=${lag} format=${f.short} min=${0} sync="overview" gaps height=${160} window=${60} />
        </${Panel}>
        <${Panel} title="Consumer groups" className="groups"><${Groups} of=${now.groups} /></${Panel}>
        <${Panel} title="Pipelines" className="full" tools=${html`<a href=${to('pipelines')}>Plan graphs</a>`}><${PipelineTable} rows=${now.pipelines} /></${Panel}>
      </div>
    </${Page}>`;
}

function Fleet({ of }) {
  if (!of.total) return html`<${Empty}>No readings yet.</${Empty}>`;
  const parts = [['online', 'ok'], ['late', 'warn'], ['silent', 'bad']];
  return html`
    <p class="big">${f.count(of.total)} <small>${of.total === 1 ? 'device' : 'devices'}</small></p>
    <div class="share" role="img" aria-label=${parts.map(([k]) => `${of[k]} ${k}`).join(', ')}>
      ${parts.map(([k, tone]) => (of[k] ? html`<i key=${k} class=${tone} style=${{ flexGrow: of[k] }}></i>` : null))}
    </div>
    <dl class="keys">
      ${parts.map(([k]) => html`<div key=${k}><dt><a href=${to('devices') + '?status=' + k}><${State} is=${k} /></a></dt><dd>${f.count(of[k])}</dd></div>`)}
    </dl>
    ${of.until ? html`<p class="hint">Readings up to ${f.clock(of.until)} have been read; device status is as of that time.</p>` : null}
    ${of.sampled ? html`<p class="hint">Device data is a sample: there are more readings than the console reads.</p>` : null}
    ${of.untracked ? html`<p class="hint">There are more devices than the console can keep.</p>` : null}`;
}

function Cluster({ of }) {
  return html`
    <dl class="keys rule">
      <div><dt>Brokers</dt><dd>${f.count(of.brokers?.length ?? 0)}</dd></div>
      <div><dt>Topics, partitions</dt><dd>${f.count(of.topics)}, ${f.count(of.partitions)}</dd></div>
      <div><dt>Under-replicated</dt><dd class=${of.under_replicated ? 'warn-text' : ''}>${f.count(of.under_replicated)}</dd></div>
      <div><dt>Without leader</dt><dd class=${of.offline ? 'bad-text' : ''}>${f.count(of.offline)}</dd></div>
    </dl>`;
}

function Groups({ of }) {
  if (!of?.length) return html`<${Empty}>No consumer groups yet.</${Empty}>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Consumer groups"><table class="first">
    <thead><tr><th>Group</th><th class="num">Members</th><th class="num">Rate</th><th class="num">Lag</th></tr></thead>
    <tbody>${of.map((g) => html`<tr key=${g.name}><td><${Name} of=${g.name} /></td><td class="num">${g.members}</td><td class="num">${f.rate(g.rate)}</td><td class="num">${f.short(g.lag)}</td></tr>`)}</tbody>
  </table></div>`;
}

export function PipelineTable({ rows }) {
  if (!rows?.length) return html`<${Empty}>No pipelines are running. <code>weir run FILE.sql</code> starts one.</${Empty}>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Pipelines"><table>
    <thead><tr><th>Pipeline</th><th>State</th><th class="num">Workers</th><th class="num">Rows read</th><th class="num">Lag</th><th class="num">Watermark</th><th class="num">p99</th><th class="num">Late</th><th class="num">Dead letters</th></tr></thead>
    <tbody>${rows.map((r) => html`<tr key=${r.name}>
      <td><a href=${to('pipelines', r.name)}><${Name} of=${r.name} /></a></td>
      <td><${State} is=${r.state} title=${r.reason} /></td>
      <td class="num">${f.count(r.members)}</td><td class="num">${f.rate(r.rate)}</td><td class="num">${f.short(r.lag)}</td>
      <td class="num">${r.delay === undefined ? '–' : '−' + f.seconds(r.delay)}</td><td class="num">${f.ms(r.p99)}</td>
      <td class="num">${r.here ? f.short(r.late ?? 0) : '–'}</td><td class="num">${r.here ? f.short(r.dead_letters ?? 0) : '–'}</td>
    </tr>`)}</tbody>
  </table></div>`;
}
