// Time series with uPlot, in the theme's colours: resizes with the page; the legend shows the values under the cursor.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useEffect, useRef, useState } from 'preact/hooks';
import { html } from './html.js';
import { theme } from './theme-switch.js';

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// series: [{ label, color: 1…6, fill }], data: [[seconds…], [values…]…], format: value → text.
// With gaps, a line breaks at null; undefined never breaks it.
export function Chart({ series, data, height = 190, format, label, sync, min, window: span, gaps = false }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [cursor, setCursor] = useState(null);
  const now = theme.value;
  const shape = series.map((s) => s.label + s.color).join() + now;

  useEffect(() => {
    const ink = css('--dim');
    const line = css('--line');
    const font = '11px ' + css('--sans');
    const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const u = new uPlot({
      width: box.current.clientWidth || 300,
      height,
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { points: { size: 6 }, y: false, sync: sync ? { key: sync } : undefined, drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: span ? (_, lo, hi) => [Math.min(lo, hi - span), hi] : undefined },
        y: { range: (_, lo, hi) => bounds(lo, hi, min) },
      },
      axes: [
        // Labels with seconds are wider.
        { ...axis, size: 26, gap: 4, incrs: steps, space: (_, __, lo, hi, width) => ((hi - lo) * 46 / width > 30 ? 46 : 66), values: (_, ticks) => ticks.map((t) => times(t, ticks)) },
        { ...axis, size: 52, gap: 6, space: 34, values: (_, ticks) => ticks.map((v) => (v === 0 ? '0' : format(v))) },
      ],
      series: [{}, ...series.map((s) => ({
        label: s.label, stroke: css('--s' + s.color), width: 1.5, points: { show: false },
        fill: s.fill ? css('--s' + s.color) + '1f' : undefined, spanGaps: !gaps,
      }))],
      hooks: { setCursor: [(u) => setCursor(u.cursor.idx ?? null)] },
    }, data, box.current);
    plot.current = u;
    const observer = new ResizeObserver(() => {
      const width = box.current?.clientWidth;
      if (width && width !== u.width) u.setSize({ width, height });
    });
    observer.observe(box.current);
    return () => { observer.disconnect(); u.destroy(); plot.current = null; };
  }, [shape, height, span]);

  useEffect(() => { plot.current?.setData(data); }, [data]);

  const last = data[0].length - 1;
  const at = cursor !== null && cursor <= last ? cursor : last;
  const values = series.map((s, i) => `${s.label} ${format(data[i + 1]?.[last])}`).join(', ');
  return html`
    <div class="chart">
      <ul class="legend" aria-hidden="true">
        ${series.map((s, i) => html`<li key=${s.label}><i class=${'swatch s' + s.color}></i><span>${s.label}</span><b>${format(data[i + 1]?.[at])}</b></li>`)}
        ${cursor !== null && at < last ? html`<li class="when">${new Date(data[0][at] * 1000).toLocaleTimeString()}</li>` : null}
      </ul>
      <div class="plot" ref=${box} role="img" aria-label=${`${label}: now ${values}`} style=${{ height: height + 'px' }}></div>
    </div>`;
}

function bounds(lo, hi, min) {
  if (lo === null || lo === undefined || hi === null || hi === undefined) return [0, 1];
  if (min !== undefined) lo = Math.min(lo, min);
  if (hi === lo) return min === lo ? [lo, lo + 1] : [lo - Math.abs(lo) * 0.05 - 0.5, hi + Math.abs(hi) * 0.05 + 0.5];
  const room = (hi - lo) * 0.08;
  return [min !== undefined && lo === min ? lo : lo - room, hi + room];
}

// Steps between times on an axis, in seconds; labels of adjacent ticks always differ.
const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 2592000];

const two = (n) => String(n).padStart(2, '0');
function times(t, ticks) {
  const d = new Date(t * 1000);
  if (ticks.length > 1 && ticks[1] - ticks[0] >= 86400) return `${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : t % 60 || 60;
  return `${two(d.getHours())}:${two(d.getMinutes())}` + (step < 60 ? ':' + two(d.getSeconds()) : '');
}
