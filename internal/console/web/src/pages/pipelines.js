import { useEffect, useState } from 'preact/hooks';
import { html } from '../html.js';
import { frames, get, useWatch } from '../api.js';
import { to } from '../route.js';
import { Graph } from '../graph.js';
import { Stream } from '../stream.js';
import { highlight } from '../sql.js';
import { PipelineTable } from './overview.js';
import { Empty, Figure, Name, Page, Panel, State, Tabs, Trouble, f, useAnswer } from '../parts.js';

export function Pipelines({ argument: name }) {
  return name ? html`<${Pipeline} name=${name} />` : html`<${List} />`;
}

function List() {
  const rows = frames.overview.value?.pipelines;
  return html`
    <${Page} title="Pipelines" lead="Running SQL, exactly once" tools=${html`<a class="button" href=${to('sql')}>Write SQL</a>`}>
      <${Panel} label="Pipelines"><${PipelineTable} rows=${rows} /></${Panel}>
      ${rows?.length ? html`<div class="stack">${rows.slice(0, 4).map((r) => html`<${Mini} key=${r.name} row=${r} />`)}</div>` : null}
    </${Page}>`;
}

function Mini({ row }) {
  const { answer } = useAnswer((signal) => get('pipeline', { name: row.name }, signal), row.name);
  return html`<${Panel} title=${html`<${Name} of=${row.name} />`} note=${html`<${State} is=${row.state} />`} tools=${html`<a href=${to('pipelines', row.name)}>Open</a>`}>
    ${answer ? html`<${Graph} graph=${plain(answer.graph)} label=${`Plan of ${row.name}`} />` : null}
  </${Panel}>`;
}

// Without figures: this graph is not updated, so they would soon be outdated.
const plain = (g) => ({ nodes: g.nodes, edges: g.edges.map((e) => ({ from: e.from, to: e.to })) });

function Pipeline({ name }) {
  useWatch('pipeline:' + name);
  const { answer, error } = useAnswer((signal) => get('pipeline', { name }, signal), name);
  const frame = frames.pipeline.value?.name === name ? frames.pipeline.value : null;
  const p = frame ?? answer;
  const [topic, setTopic] = useState('');
  const [tab, setTab] = useState('stream');
  useEffect(() => {
    if (topic || !p) return;
    const sink = p.graph.nodes.find((n) => n.role === 'sink' && p.topics?.includes(n.label));
    setTopic(sink?.label ?? p.topics?.[0] ?? '');
  }, [p]);
  return html`
    <${Page} title=${html`<${Name} of=${name} />`} lead=${p ? html`<${State} is=${p.state} />${p.reason ? ' ' + p.reason : ''} · ${f.plural(p.members, 'worker')}${p.here ? '' : ' in other processes'}` : ''}
      tools=${html`<a class="button" href=${to('pipelines')}>All pipelines</a>`}>
      <${Trouble} error=${error} />
      ${p ? html`
        <div class="figures five">
          <${Figure} label="Rows read" value=${f.short(p.rate)} unit="/s" />
          <${Figure} label="Lag" value=${f.short(p.lag)} unit=" records" />
          <${Figure} label="Watermark" value=${p.delay === undefined ? '–' : '−' + f.seconds(p.delay)} note=${p.delay === undefined ? (p.here ? 'none' : 'not known here') : 'behind the clock'} />
          <${Figure} label="Latency p99" value=${f.ms(p.p99)} note="record to committed result" />
          <${Figure} label="Late, dead letters" value=${p.here ? `${f.short(p.late ?? 0)}, ${f.short(p.dead_letters ?? 0)}` : '–'} note=${p.dropped ? `since start; ${f.short(p.dropped)} dropped by options` : 'since start'} />
        </div>
        ${p.skipped ? html`<${Skips} of=${p.status} offsets=${p.skipped} />` : null}
        <${Panel} title="Plan" note=${p.planned ? 'select a topic to see its records' + (p.partly ? '; rows between operators are those of this process only' : '') : 'SQL unknown: started by an older weir, or not a pipeline'}>
          <${Graph} graph=${p.graph} onTopic=${(t) => { setTopic(t); setTab('stream'); }} chosen=${topic} />
        </${Panel}>
        ${p.sinks?.length ? html`<${Deliveries} of=${p.sinks} />` : null}
        <${Panel} label="Details">
          <div class="bar">
            <${Tabs} label="Details" value=${tab} onChange=${setTab} options=${[['stream', 'Stream'], ['tasks', 'Tasks'], ['sql', 'SQL']]} />
            ${tab === 'stream' && p.topics?.length ? html`<label class="inline">topic <select value=${topic} onChange=${(e) => setTopic(e.target.value)}>${p.topics.map((t) => html`<option key=${t}>${t}</option>`)}</select></label>` : null}
          </div>
          ${tab === 'stream' && topic ? html`<${Stream} key=${topic} topic=${topic} />` : null}
          ${tab === 'tasks' ? html`<${Tasks} of=${p.status} />` : null}
          ${tab === 'sql' ? (answer?.sql ? html`<pre class="sql" tabindex="0" aria-label="SQL">${highlight(answer.sql)}</pre>` : html`<${Empty}>The SQL is not known to this process.</${Empty}>`) : null}
        </${Panel}>` : null}
    </${Page}>`;
}

// Deliveries lists the tables whose rows are delivered to a target outside of Kafka.
function Deliveries({ of }) {
  return html`
    <${Panel} title="Delivery" note="rows wait in a topic until they are delivered; counted since start">
      <div class="scroll" tabindex="0" role="region" aria-label="Delivery"><table>
        <thead><tr><th>Table</th><th>Target</th><th>State</th><th class="num">Waiting</th><th class="num">Delivered</th><th class="num">Dead letters</th><th class="num">Retries</th><th class="num">Last error</th></tr></thead>
        <tbody>${of.map((s) => html`<tr key=${s.table}><td><${Name} of=${s.table} /></td><td>${s.target}</td><td><${State} is=${s.state} title=${s.reason} /></td>
          <td class="num">${f.count(s.lag)}</td><td class="num">${f.count(s.rows + (s.deletes ?? 0))}</td><td class="num">${f.count(s.dead_letters ?? 0)}</td><td class="num">${f.count(s.retries ?? 0)}</td>
          <td class="num">${s.last_error ? f.stamp(s.last_error) : '–'}</td></tr>`)}</tbody>
      </table></div>
      ${of.filter((s) => s.reason).map((s) => html`<p key=${s.table} class="dim"><${Name} of=${s.table} />: ${s.reason}</p>`)}
    </${Panel}>`;
}

// Skips lists the offsets that were deleted before the pipeline read them.
function Skips({ of, offsets }) {
  return html`
    <${Panel} title="Deleted before they were read" note=${f.count(offsets) + ' offsets since start; their rows are missing from the results'}>
      <div class="scroll" tabindex="0" role="region" aria-label="Deleted before they were read"><table>
        <thead><tr><th>Time</th><th>Topic</th><th class="num">Partition</th><th class="num">From</th><th class="num">To</th><th class="num">Offsets</th><th>Cause</th></tr></thead>
        <tbody>${(of?.skips ?? []).toReversed().map((s) => html`<tr key=${s.at + s.topic + s.partition}><td>${f.stamp(Date.parse(s.at))}</td><td><${Name} of=${s.topic} /></td>
          <td class="num">${s.partition}</td><td class="num">${f.count(s.from)}</td><td class="num">${f.count(s.to - 1)}</td><td class="num">${f.count(s.to - s.from)}</td><td>${s.why}</td></tr>`)}</tbody>
      </table></div>
    </${Panel}>`;
}

function Tasks({ of }) {
  if (!of) return html`<${Empty}>This pipeline runs in another process, and its tasks are known only there.</${Empty}>`;
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="Tasks"><table>
      <thead><tr><th>Task</th><th>Input</th><th class="num">Records</th><th class="num">Lag</th><th class="num">Watermark</th><th class="num">Written</th><th class="num">Late</th><th class="num">State</th><th>Worker</th></tr></thead>
      <tbody>${of.tasks.flatMap((t) => t.inputs.map((i) => html`<tr key=${t.stage + t.partition + i.topic}>
        <td>${t.stage}<span class="dim"> · ${t.partition}</span></td><td><${Name} of=${i.topic} /></td><td class="num">${f.count(i.records)}</td><td class="num">${f.count(i.lag)}</td>
        <td class="num">${i.idle ? 'idle' : i.watermark ? f.clock(Date.parse(i.watermark)) : '–'}</td><td class="num">${f.count(t.outputs)}</td><td class="num">${f.count(t.late)}</td>
        <td class="num">${f.short(t.state_entries)}<span class="dim"> · ${f.bytes(t.state_bytes)}</span></td><td class="dim">${t.worker || 'elsewhere'}</td></tr>`))}</tbody>
    </table></div>
    <div class="scroll" tabindex="0" role="region" aria-label="Workers"><table>
      <thead><tr><th>Worker</th><th>State</th><th class="num">Committed</th><th class="num">Aborted</th><th class="num">Last commit</th><th class="num">Sessions</th></tr></thead>
      <tbody>${of.workers.map((w) => html`<tr key=${w.instance}><td class="mono">${w.instance}</td><td><${State} is=${w.phase} title=${w.reason} /></td><td class="num">${f.count(w.committed)}</td>
        <td class="num">${f.count(Object.values(w.aborted ?? {}).reduce((a, b) => a + b, 0))}</td><td class="num">${f.ms(w.commit_seconds * 1000)}</td><td class="num">${f.count(w.sessions)}</td></tr>`)}</tbody>
    </table></div>`;
}
