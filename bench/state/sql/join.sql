{{template "tables.sql" .}}
CREATE TABLE located (
  device_id STRING,
  `value` BIGINT,
  site STRING
) WITH (
  'connector' = 'kafka',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
{{- template "sink.sql" . -}}
);

INSERT INTO located
SELECT r.device_id, r.`value`, d.site
FROM readings AS r JOIN devices AS d ON r.device_id = d.device_id;
