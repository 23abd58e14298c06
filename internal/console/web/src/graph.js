// Draws a plan as a graph: from left to right, or on narrow pages from top to bottom.
import dagre from '@dagrejs/dagre';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { html } from './html.js';
import * as f from './format.js';

const size = (n) => {
  const text = Math.max(n.label.length * 7.6, role(n).length * 6.6);
  return { width: Math.min(n.role === 'Project' ? 150 : 210, Math.max(96, text + 26)), height: 46 };
};
const role = (n) => (n.kind === 'topic' ? { source: 'topic', sink: 'topic', exchange: 'repartition' }[n.role] ?? 'topic' : n.role.toLowerCase());

// The labels of an edge: rows per second, lag, and how far its watermark is behind the clock.
function labels(e) {
  const lines = [];
  if (e.rate !== undefined) lines.push(f.rate(e.rate));
  if (e.lag !== undefined) lines.push('lag ' + f.short(e.lag));
  if (e.delay !== undefined) lines.push('wm −' + f.about(e.delay));
  return lines;
}

const labelWidth = 64;
const fold = 62; // gap between two bands of a plan that is too wide

// layout places nodes and edges. A plan wider than room wraps into further bands below, like text.
function layout(graph, direction, room) {
  const wide = direction === 'LR';
  const g = new dagre.graphlib.Graph();
  g.setGraph({ rankdir: direction, nodesep: 26, ranksep: wide ? 26 : 40, marginx: 8, marginy: 14 });
  g.setDefaultEdgeLabel(() => ({}));
  for (const n of graph.nodes) g.setNode(n.id, size(n));
  for (const e of graph.edges) {
    if (!labels(e).length) g.setEdge(e.from, e.to, {});
    else g.setEdge(e.from, e.to, wide ? { width: labelWidth, height: 46, labelpos: 'c' } : { width: 2 * labelWidth, height: 40, labelpos: 'r' });
  }
  dagre.layout(g);
  const plan = { width: g.graph().width, height: g.graph().height, nodes: new Map(), edges: new Map() };
  for (const n of graph.nodes) plan.nodes.set(n.id, { ...g.node(n.id), band: 0 });
  if (wide && plan.width > room) bands(plan, room);
  for (const e of graph.edges) {
    const [from, to] = [plan.nodes.get(e.from), plan.nodes.get(e.to)];
    const { points, x, y } = g.edge(e.from, e.to);
    if (from.band !== to.band) plan.edges.set(e, folded(from, to, plan.top));
    else if (wide) plan.edges.set(e, { d: curve(points.map((p) => ({ x: p.x + (from.dx ?? 0), y: p.y + (from.dy ?? 0) })), direction), at: middle(points, from) });
    else plan.edges.set(e, { d: curve(points, direction), at: { x: (x ?? points[1].x) - labelWidth, y: y ?? points[1].y } });
  }
  return plan;
}

const middle = (points, { dx = 0, dy = 0 }) => { const p = points[Math.floor(points.length / 2)]; return { x: p.x + dx, y: p.y + dy }; };

// bands breaks a plan between the columns of its nodes.
function bands(plan, room) {
  const nodes = [...plan.nodes.values()].sort((a, b) => a.x - b.x);
  let [band, start, end] = [0, 0, 0];
  for (let i = 0; i < nodes.length;) {
    const column = nodes.slice(i).filter((n) => n.x - nodes[i].x < 1);
    const left = Math.min(...column.map((n) => n.x - n.width / 2));
    const right = Math.max(...column.map((n) => n.x + n.width / 2));
    if (i && right - start > room - 30) { band++; start = left - 24; }
    for (const n of column) Object.assign(n, { band, dx: -start, dy: band * (plan.height + fold) });
    end = Math.max(end, right - start);
    i += column.length;
  }
  for (const n of nodes) { n.x += n.dx; n.y += n.dy; }
  const { height } = plan;
  plan.top = (b) => b * (height + fold) - fold / 2 - 8; // of the line that leads to a band
  plan.height = height + band * (height + fold);
  plan.width = end + 26;
}

// folded is an edge from the end of one band to the beginning of another.
function folded(from, to, top) {
  const [x1, x2, y] = [from.x + from.width / 2, to.x - to.width / 2, top(to.band)];
  const r = 7;
  return {
    d: `M${x1} ${from.y}h${14 - r}q${r} 0 ${r} ${r}V${y - r}q0 ${r} ${-r} ${r}H${x2 - 14 + r}q${-r} 0 ${-r} ${r}V${to.y - r}q0 ${r} ${r} ${r}H${x2}`,
    at: { x: (x1 + x2) / 2, y },
  };
}

// A smooth line through the points of an edge.
function curve(points, direction) {
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

export function Graph({ graph, onTopic, chosen, label = 'Plan graph' }) {
  const box = useRef(null);
  const [width, setWidth] = useState(900);
  useEffect(() => {
    const observer = new ResizeObserver(() => setWidth(box.current?.clientWidth || 900));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const direction = width < 380 ? 'TB' : 'LR';
  const shape = graph ? JSON.stringify([graph.nodes.map((n) => [n.id, n.label]), graph.edges.map((e) => [e.from, e.to, labels(e).length > 0])]) : '';
  const plan = useMemo(() => (graph ? layout(graph, direction, (width - 4) / 0.85) : null), [shape, direction, width]);
  if (!graph) return html`<div ref=${box}></div>`;
  // Small plans keep their size; others shrink a little, then wrap.
  const scale = Math.min(1, Math.max(0.7, (width - 4) / plan.width));
  const places = new Map([...plan.edges].map(([e, place]) => [e.from + '>' + e.to, place]));
  return html`
    <div class="graph scroll" ref=${box} tabindex="0" role="region" aria-label=${label}>
      <svg width=${plan.width * scale} height=${plan.height * scale} viewBox=${`0 0 ${plan.width} ${plan.height}`} role="group" aria-label=${words(graph)}>
        <marker id="tip" viewBox="0 0 7 8" refX="6.5" refY="4" markerWidth="7" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M.5 .5L6 4L.5 7.5" /></marker>
        ${graph.edges.map((e) => html`<${Edge} key=${e.from + '>' + e.to} edge=${e} place=${places.get(e.from + '>' + e.to)} direction=${direction} />`)}
        ${graph.nodes.map((n) => {
    const at = plan.nodes.get(n.id);
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

function Edge({ edge, place, direction }) {
  const { d, at } = place;
  const lines = labels(edge);
  const flows = edge.rate > 0;
  const wide = direction === 'LR';
  return html`
    <g class=${'edge' + (flows ? ' flows' : '')}>
      <path d=${d} marker-end="url(#tip)" />
      ${flows ? html`<path class="water" d=${d} />` : null}
      ${lines.map((text, i) => {
    const y = wide ? [at.y - 7, at.y + 15, at.y + 28][i] : at.y + 2 + 13 * (i - (lines.length - 1) / 2);
    return html`<text key=${i} class=${i === 0 ? 'flow' : ''} x=${at.x} y=${y} text-anchor=${wide ? 'middle' : 'start'}>${text}</text>`;
  })}
    </g>`;
}

// The graph in words, for screen readers.
function words(graph) {
  const name = Object.fromEntries(graph.nodes.map((n) => [n.id, n.kind === 'topic' ? `topic ${n.label}` : n.does ?? n.label]));
  return graph.edges.map((e) => [`${name[e.from]} to ${name[e.to]}`, ...labels(e)].join(', ')).join('; ').replaceAll('wm −', 'watermark behind by ');
}
