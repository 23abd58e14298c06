// What the types refuse. tsc fails here as soon as it takes one of these.
import { type Dashboard, TooltipDisplayMode } from '@grafana/schema';
import { type AnyPanel, row, stat, timeseries, type Unit } from './dashboard.js';

const lag = timeseries('Lag', 'short', ['', 'up']);

// @ts-expect-error no panel is of this type
export const type: AnyPanel = { ...lag, type: 'graph' };
// @ts-expect-error a stat has other options
export const options: AnyPanel = { ...lag, type: 'stat' };
// @ts-expect-error an option that a panel does not have
export const option: AnyPanel = { ...lag, options: { ...lag.options, legends: lag.options.legend } };
// @ts-expect-error a value that an option does not have
export const value: AnyPanel = { ...lag, options: { ...lag.options, tooltip: { mode: 'all', sort: lag.options.tooltip.sort } } };
// @ts-expect-error a legend without all that it needs
export const missing: AnyPanel = { ...lag, options: { tooltip: lag.options.tooltip, legend: { showLegend: true } } };
// @ts-expect-error a field setting that Grafana does not have
export const field: AnyPanel = { ...lag, fieldConfig: { defaults: { units: 's' }, overrides: [] } };
// @ts-expect-error a setting of lines that Grafana does not have
export const line: AnyPanel = { ...lag, fieldConfig: { defaults: { custom: { lineWidths: 2 } }, overrides: [] } };
// @ts-expect-error a query without PromQL
export const query: AnyPanel = { ...lag, targets: [{ refId: 'A', legendFormat: '' }] };
// @ts-expect-error a unit that is none of ours
export const unit: Unit = 'seconds';
// @ts-expect-error a panel without a query
export const empty = stat('Brokers');
// @ts-expect-error a row without a panel
export const none = row('Groups');
// @ts-expect-error a field that dashboards do not have
export const board: Dashboard = { schemaVersion: 39, titel: 'Kafka' };

// And what they take, so that the above is refused for its own reason only.
export const taken: AnyPanel[] = [
  { ...lag, type: 'timeseries' },
  { ...lag, options: { ...lag.options, tooltip: { mode: TooltipDisplayMode.None, sort: lag.options.tooltip.sort } } },
  { ...lag, fieldConfig: { defaults: { unit: 's', custom: { lineWidth: 2 } }, overrides: [] } },
  { ...lag, targets: [{ refId: 'A', legendFormat: '', expr: 'up' }] },
];
