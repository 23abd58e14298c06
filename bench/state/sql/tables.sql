SET 'pipeline.name' = '{{.ID}}';

CREATE TABLE readings (
  device_id STRING,
  `value` BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'bench_readings',
{{- template "source.sql" . -}}
);

CREATE TABLE devices (
  device_id STRING,
  site STRING
) WITH (
  'connector' = 'kafka',
  'topic' = 'bench_devices',
{{- template "source.sql" . -}}
);
