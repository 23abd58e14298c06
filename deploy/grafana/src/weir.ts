import { choice, dashboard, row, timeseries } from './dashboard.js';

export const weir = dashboard(
  'weir',
  'Weir',
  choice('pipeline', 'Pipeline', 'weir_engine_tasks'),
  row(
    'Flow',
    timeseries('Readings sent', 'recps', ['{{source}}', 'sum by (source) (rate(weir_produce_readings_total[1m]))']),
    timeseries('Records read', 'recps', ['{{pipeline}}', 'sum by (pipeline) (rate(weir_engine_records_total{pipeline=~"$pipeline"}[1m]))']),
    timeseries(
      'Records written', 'recps',
      ['{{pipeline}} {{stage}}', 'sum by (pipeline, stage) (rate(weir_engine_outputs_total{pipeline=~"$pipeline"}[1m]))'],
    ),
  ),
  row(
    'Delay',
    timeseries(
      'Latency, reading to committed result', 's',
      ['p50', 'histogram_quantile(0.5, sum by (le) (rate(weir_engine_latency_seconds_bucket{pipeline=~"$pipeline"}[1m])))'],
      ['p99', 'histogram_quantile(0.99, sum by (le) (rate(weir_engine_latency_seconds_bucket{pipeline=~"$pipeline"}[1m])))'],
    ),
    timeseries('Lag', 'short', ['{{pipeline}} {{topic}}', 'sum by (pipeline, topic) (weir_engine_lag_records{pipeline=~"$pipeline"})']),
    timeseries('Lag in time', 's', ['{{pipeline}} {{topic}}', 'max by (pipeline, topic) (weir_engine_lag_seconds{pipeline=~"$pipeline"})']),
    timeseries(
      'Watermark behind the clock', 's',
      ['{{pipeline}} {{topic}}', 'max by (pipeline, topic) (weir_engine_watermark_delay_seconds{pipeline=~"$pipeline"})'],
    ),
  ),
  row(
    'Transactions',
    timeseries(
      'Committed', 'ops',
      ['{{pipeline}}', 'sum by (pipeline) (rate(weir_engine_transactions_committed_total{pipeline=~"$pipeline"}[1m]))'],
      ['source {{source}}', 'sum by (source) (rate(weir_produce_transactions_committed_total[1m]))'],
    ),
    timeseries(
      'Aborted, by reason', 'ops',
      ['{{pipeline}} {{reason}}', 'sum by (pipeline, reason) (rate(weir_engine_transactions_aborted_total{pipeline=~"$pipeline"}[5m]))'],
      ['source {{source}} {{reason}}', 'sum by (source, reason) (rate(weir_produce_transactions_aborted_total[5m]))'],
    ),
    timeseries(
      'Length', 's',
      ['{{pipeline}} p99', 'histogram_quantile(0.99, sum by (pipeline, le) (rate(weir_engine_commit_seconds_bucket{pipeline=~"$pipeline"}[1m])))'],
      ['source {{source}} p99', 'histogram_quantile(0.99, sum by (source, le) (rate(weir_produce_commit_seconds_bucket[1m])))'],
    ),
    timeseries(
      'Sessions restarted', 'short',
      ['{{pipeline}}', 'sum by (pipeline) (increase(weir_engine_retries_total{pipeline=~"$pipeline"}[5m]))'],
      ['source {{source}}', 'sum by (source) (increase(weir_produce_retries_total[5m]))'],
    ),
  ),
  row(
    'What does not fit',
    timeseries('Late rows', 'recps', ['{{pipeline}}', 'sum by (pipeline) (rate(weir_engine_late_rows_total{pipeline=~"$pipeline"}[1m]))']),
    timeseries(
      'Dead letters, by cause', 'recps',
      ['{{pipeline}} {{cause}}', 'sum by (pipeline, cause) (rate(weir_engine_dead_letters_total{pipeline=~"$pipeline"}[1m]))'],
      ['source {{source}} {{cause}}', 'sum by (source, cause) (rate(weir_produce_dead_letters_total[1m]))'],
    ),
    timeseries(
      'Dropped by options, by table', 'recps',
      ['{{pipeline}} {{table}} {{what}}', 'sum by (pipeline, table, what) (rate(weir_engine_dropped_total{pipeline=~"$pipeline"}[1m]))'],
    ),
    timeseries(
      'Rows too far ahead for the watermark', 'recps',
      ['{{pipeline}}', 'sum by (pipeline) (rate(weir_engine_rows_ahead_total{pipeline=~"$pipeline"}[1m]))'],
    ),
    timeseries(
      'Offsets skipped, in an hour', 'short',
      ['{{pipeline}} {{topic}}', 'sum by (pipeline, topic) (increase(weir_engine_skipped_offsets_total{pipeline=~"$pipeline"}[1h]))'],
    ),
    timeseries(
      'Sources deleted and created again', 'short',
      ['{{pipeline}} {{topic}}', 'sum by (pipeline, topic) (weir_engine_source_recreated_total{pipeline=~"$pipeline"})'],
    ),
    timeseries('Workers, by phase', 'short', ['{{pipeline}} {{phase}}', 'sum by (pipeline, phase) (weir_engine_workers{pipeline=~"$pipeline"})']),
  ),
  row(
    'Devices',
    timeseries('Messages and requests, by protocol', 'ops', ['{{protocol}}', 'sum by (protocol) (rate(weir_ingest_messages_total[1m]))']),
    timeseries('Readings in them', 'recps', ['{{protocol}}', 'sum by (protocol) (rate(weir_ingest_readings_total[1m]))']),
    timeseries(
      'What is no reading', 'recps',
      ['{{protocol}} dead letters', 'sum by (protocol) (rate(weir_ingest_rejected_total[1m]))'],
      ['{{protocol}} refused points', 'sum by (protocol) (rate(weir_ingest_refused_points_total[1m]))'],
      ['{{protocol}} without a number', 'sum by (protocol) (rate(weir_ingest_skipped_fields_total[1m]))'],
    ),
    timeseries(
      'On the disk, not yet in Kafka', 'short',
      ['{{instance}}', 'sum by (instance) (weir_spool_items)'],
      ['{{instance}} unacknowledged', 'sum by (instance) (weir_spool_unacknowledged)'],
    ),
    timeseries('Age of the oldest', 's', ['{{instance}}', 'max by (instance) (weir_spool_oldest_item_age_seconds)']),
    timeseries('Spool', 'bytes', ['{{instance}}', 'sum by (instance) (weir_spool_bytes)'], ['{{instance}} limit', 'sum by (instance) (weir_spool_max_bytes)']),
    timeseries(
      'Refused for lack of room, and repeats', 'ops',
      ['refused', 'sum(rate(weir_spool_refused_total[1m]))'],
      ['repeats', 'sum(rate(weir_spool_repeated_total[1m]))'],
    ),
    timeseries('MQTT clients', 'short', ['connected', 'sum(weir_mqtt_connections)'], ['sessions', 'sum(weir_mqtt_sessions)']),
    timeseries(
      'Dropped by other MQTT brokers, in an hour', 'short',
      ['{{url}}', 'sum by (url) (increase(weir_mqtt_source_broker_dropped_total[1h]))'],
    ),
  ),
  row(
    'State and process',
    timeseries('Entries of state', 'short', ['{{pipeline}}', 'sum by (pipeline) (weir_engine_state_entries{pipeline=~"$pipeline"})']),
    timeseries(
      'Local copies of state lost', 'short',
      ['{{pipeline}} {{instance}}', 'max by (pipeline, instance) (weir_engine_local_copies_lost{pipeline=~"$pipeline"})'],
    ),
    timeseries('Memory of state', 'bytes', ['{{pipeline}}', 'sum by (pipeline) (weir_engine_state_bytes{pipeline=~"$pipeline"})']),
    timeseries('Restore', 's', ['{{pipeline}}', 'max by (pipeline) (weir_engine_restore_seconds{pipeline=~"$pipeline"})']),
    timeseries('Memory', 'bytes', ['{{instance}}', 'process_resident_memory_bytes{job="weir"}']),
    timeseries('CPU', 'percentunit', ['{{instance}}', 'rate(process_cpu_seconds_total{job="weir"}[1m])']),
  ),
  row(
    'Schema registry',
    timeseries('Requests to it, by outcome', 'ops', ['{{registry}} {{outcome}}', 'sum by (registry, outcome) (rate(weir_registry_client_requests_total[1m]))']),
    timeseries(
      'Its answers, p99', 's',
      ['{{registry}}', 'histogram_quantile(0.99, sum by (registry, le) (rate(weir_registry_client_request_seconds_bucket[5m])))'],
    ),
    timeseries('Schemas that records wait for', 'short', ['{{registry}}', 'sum by (registry) (weir_registry_client_waiting)']),
    timeseries('Requests to the embedded one', 'ops', ['{{code}}', 'sum by (code) (rate(weir_registry_requests_total[1m]))']),
    timeseries('Schemas in the embedded one', 'short', ['schemas', 'sum(weir_registry_schemas)'], ['subjects', 'sum(weir_registry_subjects)']),
  ),
  row(
    'Alerts on the readings',
    timeseries('Firing, by severity', 'short', ['{{severity}}', 'sum by (severity) (weir_alert_firing)'], ['silenced', 'sum(weir_alert_silenced)']),
    timeseries('Notifications, by outcome', 'ops', ['{{kind}} {{outcome}}', 'sum by (kind, outcome) (rate(weir_alert_notifications_total[1m]))']),
    timeseries(
      'From alert to answer, p99', 's',
      ['{{kind}}', 'histogram_quantile(0.99, sum by (kind, le) (rate(weir_alert_delivery_seconds_bucket[5m])))'],
    ),
    timeseries('Groups that are not delivered', 'short', ['{{instance}}', 'sum by (instance) (weir_alert_failing_groups)']),
  ),
  row(
    'Broker clients',
    timeseries(
      'Requests, p99', 's',
      ['{{part}}', 'histogram_quantile(0.99, sum by (part, le) (rate(weir_broker_client_request_duration_e2e_seconds_bucket[1m])))'],
    ),
    timeseries('Bytes written', 'Bps', ['{{part}}', 'sum by (part) (rate(weir_broker_client_write_bytes_total[1m]))']),
    timeseries('Bytes read', 'Bps', ['{{part}}', 'sum by (part) (rate(weir_broker_client_read_bytes_total[1m]))']),
  ),
);
