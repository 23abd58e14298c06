// Building blocks of the dashboards. The types are Grafana's own: tsc rejects a panel, an option or a value that its
// schema does not have.
import {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  type Dashboard,
  type DataQuery,
  type DataSourceRef,
  type FieldConfig,
  type FieldConfigSource,
  LegendDisplayMode,
  type Panel,
  PercentChangeColorMode,
  type RowPanel,
  SortOrder,
  type Threshold,
  ThresholdsMode,
  TooltipDisplayMode,
  type VariableModel,
  VariableRefresh,
  VizOrientation,
} from '@grafana/schema';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.js';
import type {
  FieldConfig as TimeSeriesField,
  Options as TimeSeries,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.js';

// Shape is an interface as a plain type, assignable where a panel's schema has "any record".
type Shape<T> = { [K in keyof T]: T[K] };

// Kinds are the panel types in use, with their options and field settings.
interface Kinds {
  stat: { options: Shape<Stat>; field: Record<string, never> };
  timeseries: { options: Shape<TimeSeries>; field: Shape<TimeSeriesField> };
}

type PanelOf<K extends keyof Kinds> = Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
  type: K;
  title: string;
  options: Kinds[K]['options'];
  fieldConfig: Omit<FieldConfigSource, 'defaults'> & { defaults: Omit<FieldConfig, 'custom'> & { custom?: Kinds[K]['field'] } };
  targets: PrometheusQuery[];
};

export type AnyPanel = { [K in keyof Kinds]: PanelOf<K> }[keyof Kinds];

type PrometheusQuery = Shape<DataQuery> & { expr: string; legendFormat: string };

// Unit is how Grafana writes values: recps is records per second, ops operations per second, short a plain number.
export type Unit = 'short' | 'recps' | 'ops' | 's' | 'ms' | 'bytes' | 'Bps' | 'percentunit';

// Query is a legend, in which {{label}} is replaced with the label's value, and PromQL.
export type Query = [legend: string, expr: string];

export interface Row {
  title: string;
  panels: AnyPanel[];
}

const prometheus: DataSourceRef = { type: 'prometheus', uid: '${datasource}' };

function targets(queries: Query[]): PrometheusQuery[] {
  return queries.map(([legendFormat, expr], i) => ({ refId: String.fromCharCode(65 + i), expr, legendFormat, datasource: prometheus }));
}

// timeseries draws each series of its queries as a line from 0.
export function timeseries(title: string, unit: Unit, ...queries: [Query, ...Query[]]): PanelOf<'timeseries'> {
  return {
    type: 'timeseries',
    title,
    datasource: prometheus,
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    options: {
      legend: { displayMode: LegendDisplayMode.List, placement: 'bottom', showLegend: true, calcs: [] },
      tooltip: { mode: TooltipDisplayMode.Multi, sort: SortOrder.Descending },
    },
    targets: targets(queries),
  };
}

function number(title: string, steps: Threshold[], queries: Query[]): PanelOf<'stat'> {
  return {
    type: 'stat',
    title,
    datasource: prometheus,
    fieldConfig: { defaults: { unit: 'short', min: 0, thresholds: { mode: ThresholdsMode.Absolute, steps } }, overrides: [] },
    options: {
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      orientation: VizOrientation.Auto,
      colorMode: BigValueColorMode.Value,
      graphMode: BigValueGraphMode.Area,
      justifyMode: BigValueJustifyMode.Auto,
      textMode: BigValueTextMode.Auto,
      showPercentChange: false,
      percentChangeColorMode: PercentChangeColorMode.Standard,
      wideLayout: true,
    },
    targets: targets(queries),
  };
}

// stat shows the last value of its queries.
export function stat(title: string, ...queries: [Query, ...Query[]]): PanelOf<'stat'> {
  return number(title, [{ value: null, color: 'text' }], queries);
}

// trouble shows the last value of a query that should be 0, in red when it is not.
export function trouble(title: string, expr: string): PanelOf<'stat'> {
  return number(title, [{ value: null, color: 'green' }, { value: 1, color: 'red' }], [['', expr]]);
}

export function row(title: string, ...panels: [AnyPanel, ...AnyPanel[]]): Row {
  return { title, panels };
}

// choice is a variable with the values of a metric's label; several can be selected, initially all.
export function choice(name: string, label: string, metric: string, of = name): VariableModel {
  return {
    name,
    type: 'query',
    label,
    datasource: prometheus,
    query: { query: `label_values(${metric}, ${of})`, refId: name },
    includeAll: true,
    allValue: '.*',
    multi: true,
    refresh: VariableRefresh.onTimeRangeChanged,
    current: { text: 'All', value: '$__all' },
  };
}

const width = 24;
const height = 8;

// place assigns ids and positions to rows and panels: up to four panels side by side, five and six in two lines.
function place(rows: Row[]): (Panel | RowPanel)[] {
  const placed: (Panel | RowPanel)[] = [];
  let y = 0;
  for (const { title, panels } of rows) {
    placed.push({ id: placed.length + 1, type: 'row', title, collapsed: false, gridPos: { h: 1, w: width, x: 0, y: y++ }, panels: [] });
    const columns = panels.length > 4 ? 3 : panels.length;
    for (const [i, panel] of panels.entries()) {
      const w = width / columns;
      const gridPos = { h: height, w, x: (i % columns) * w, y: y + Math.floor(i / columns) * height };
      placed.push({ id: placed.length + 1, gridPos, ...panel });
    }
    y += Math.ceil(panels.length / columns) * height;
  }
  return placed;
}

// dashboard stacks rows. Its data source can be selected; initially it is Grafana's default Prometheus.
export function dashboard(uid: string, title: string, variable: VariableModel, ...rows: Row[]): Dashboard {
  return {
    uid,
    title,
    tags: ['weir'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    timezone: 'browser',
    refresh: '10s',
    time: { from: 'now-1h', to: 'now' },
    links: [
      {
        type: 'dashboards', title: 'Weir', tags: ['weir'], tooltip: '', icon: '',
        asDropdown: false, includeVars: false, keepTime: true, targetBlank: false,
      },
    ],
    templating: { list: [{ name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Data source' }, variable] },
    annotations: { list: [] },
    panels: place(rows),
  };
}
