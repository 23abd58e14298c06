{{template "tables.sql" .}}
CREATE TABLE totals (
  device_id STRING,
  readings BIGINT,
  lowest BIGINT,
  highest BIGINT,
  total BIGINT,
  PRIMARY KEY (device_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'key.format' = 'json',
{{- template "sink.sql" . -}}
);

INSERT INTO totals
SELECT device_id, COUNT(*), MIN(`value`), MAX(`value`), SUM(`value`)
FROM readings
GROUP BY device_id;
