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
  'value.format' = '{{.Format}}',
{{- if .Registry}}
  'value.{{.Format}}.url' = '{{.Registry}}',
{{- end}}
{{- if or (eq .Format "json") (eq .Format "json-schema-confluent")}}
  'value.{{.Format}}.timestamp-format.standard' = 'ISO-8601',
{{- end}}
{{- if .Rows}}
  'scan.bounded.mode' = 'latest-offset',
{{- end}}
  'scan.startup.mode' = 'earliest-offset'
);
