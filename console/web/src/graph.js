// A plan as a picture: layers from left to right, or from top to bottom where the page is narrow.
import dagre from '@dagrejs/dagre';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { html } from './html.js';
import * as f from './format.js';

const size = (n) => {
  const text = Math.max(n.label.length * 7.6, role(n).length * 6.6);
  return { width: Math.min(n.role === 'Project' ? 150 : 210, Math.max(96, text + 26)), height: 46 };
};
const role = (n) => (n.kind === 'topic' ? { source: 'topic', sink: 'topic', exchange: 'repartition' }[n.role] ?? 'topic' : n.role.toLowerCase());

function lay(graph, direction) {
  const g = new dagre.graphlib.Graph();
  g.setGraph({ rankdir: direction, nodesep: 26, ranksep: direction === 'LR' ? 30 : 54, marginx: 8, marginy: 14 });
  g.setDefaultEdgeLabel(() => ({}));
  for (const n of graph.nodes) g.setNode(n.id, size(n));
  for (const e of graph.edges) {
    const labelled = e.from.startsWith('t:') || e.to.startsWith('t:');
    g.setEdge(e.from, e.to, labelled && direction === 'LR' ? { width: 66, height: 46, labelpos: 'c' } : {});
  }
  dagre.layout(g);
  const at = (id) => g.node(id);
  return { width: g.graph().width, height: g.graph().height, at, points: (e) => g.edge(e.from, e.to).points };
}

// A smooth line through the points of an edge.
function path(points, direction) {
  const [first, ...rest] = points;
  let d = `M${first.x} ${first.y}`;
  let p = first;
  for (const q of rest) {
    const mx = (p.x + q.x) / 2;
    const my = (p.y + q.y) / 2;
    d += direction === 'LR' ? `C${mx} ${p.y} ${mx} ${q.y} ${q.x} ${q.y}` : `C${p.x} ${my} ${q.x} ${my} ${q.x} ${q.y}`;
    p = q;
  }
  return d;
}

const cut = (text, width) => {
  const room = Math.floor((width - 22) / 7.6);
  return text.length > room ? text.slice(0, room - 1) + '…' : text;
};

export function Graph({ graph, onTopic, chosen, label = 'The plan as a graph' }) {
  const box = useRef(null);
  const [width, setWidth] = useState(900);
  useEffect(() => {
    const observer = new ResizeObserver(() => setWidth(box.current?.clientWidth || 900));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const direction = width < 560 ? 'TB' : 'LR';
  const shape = graph ? JSON.stringify([graph.nodes.map((n) => [n.id, n.label]), graph.edges.map((e) => [e.from, e.to])]) : '';
  const plan = useMemo(() => (graph ? lay(graph, direction) : null), [shape, direction]);
  if (!graph) return html`<div ref=${box}></div>`;
  // Small plans keep their size; wide ones shrink to two thirds and then scroll.
  const scale = Math.min(1, Math.max(0.7, (width - 4) / plan.width));
  return html`
    <div class="graph scroll" ref=${box} tabindex="0" role="region" aria-label=${label}>
      <svg width=${plan.width * scale} height=${plan.height * scale} viewBox=${`0 0 ${plan.width} ${plan.height}`} role="group" aria-label=${words(graph)}>
        ${graph.edges.map((e) => html`<${Edge} key=${e.from + '>' + e.to} edge=${e} points=${plan.points(e)} direction=${direction} />`)}
        ${graph.nodes.map((n) => {
    const at = plan.at(n.id);
    const topic = n.kind === 'topic';
    const choose = topic && onTopic ? () => onTopic(n.label) : undefined;
    return html`
            <g key=${n.id} class=${`node ${n.kind} ${n.role} ${topic && chosen === n.label ? 'chosen' : ''}`} transform=${`translate(${at.x - at.width / 2} ${at.y - at.height / 2})`}
              tabindex=${choose ? 0 : undefined} role=${choose ? 'button' : undefined} onClick=${choose}
              onKeyDown=${choose ? (k) => { if (k.key === 'Enter' || k.key === ' ') { k.preventDefault(); choose(); } } : undefined}>
              ${topic ? null : html`<title>${n.does}${n.stage ? `\n${n.stage}` : ''}</title>`}
              <rect width=${at.width} height=${at.height} rx=${topic ? at.height / 2 : 5} />
              <text class="role" x=${at.width / 2} y="17">${role(n)}${n.state ? ' · state' : ''}</text>
              <text class="what" x=${at.width / 2} y="34">${cut(n.label, at.width)}</text>
            </g>`;
  })}
      </svg>
    </div>`;
}

function Edge({ edge, points, direction }) {
  const middle = points[Math.floor(points.length / 2)];
  const lines = [];
  if (edge.rate !== undefined) lines.push(f.rate(edge.rate));
  if (edge.lag !== undefined) lines.push('lag ' + f.short(edge.lag));
  if (edge.delay !== undefined) lines.push('wm −' + f.seconds(edge.delay));
  const flows = edge.rate > 0;
  return html`
    <g class=${'edge' + (flows ? ' flows' : '')}>
      <path d=${path(points, direction)} />
      ${flows ? html`<path class="water" d=${path(points, direction)} />` : null}
      <path class="tip" d=${tip(points, direction)} />
      ${lines.map((text, i) => {
    const y = direction === 'LR' ? [middle.y - 7, middle.y + 15, middle.y + 28][i] : middle.y + 2 + 13 * (i - (lines.length - 1) / 2);
    return html`<text key=${i} class=${i === 0 ? 'flow' : ''} x=${direction === 'LR' ? middle.x : middle.x + 8} y=${y} text-anchor=${direction === 'LR' ? 'middle' : 'start'}>${text}</text>`;
  })}
    </g>`;
}

function tip(points, direction) {
  const p = points[points.length - 1];
  return direction === 'LR' ? `M${p.x - 6} ${p.y - 3.5}L${p.x} ${p.y}L${p.x - 6} ${p.y + 3.5}` : `M${p.x - 3.5} ${p.y - 6}L${p.x} ${p.y}L${p.x + 3.5} ${p.y - 6}`;
}

// The graph in words, for those who don't see it.
function words(graph) {
  const name = Object.fromEntries(graph.nodes.map((n) => [n.id, n.kind === 'topic' ? `topic ${n.label}` : n.does ?? n.label]));
  return graph.edges.map((e) => `${name[e.from]} to ${name[e.to]}` + (e.rate !== undefined ? `, ${f.rate(e.rate)}` : '')).join('; ');
}
