CREATE TABLE readings (
  device_id STRING,
  sensor STRING,
  `value` DOUBLE,
  unit STRING,
  ts TIMESTAMP_LTZ(3),
  seq BIGINT,
  boot STRING,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = '{{.Source}}',
  'properties.bootstrap.servers' = '{{.Brokers}}',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
{{- if .Rows}}
  'scan.bounded.mode' = 'latest-offset',
{{- end}}
  'scan.startup.mode' = 'earliest-offset'
);
