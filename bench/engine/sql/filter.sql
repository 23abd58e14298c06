SET 'pipeline.name' = '{{.ID}}';

{{template "source.sql" .}}

CREATE TABLE hot (
  device_id STRING,
  sensor STRING,
  `value` DOUBLE,
  unit STRING,
  ts TIMESTAMP_LTZ(3),
  seq BIGINT,
  boot STRING
) WITH (
{{template "sink.sql" .}}
);

INSERT INTO hot
SELECT device_id, sensor, `value`, unit, ts, seq, boot
FROM readings
WHERE `value` > 25;
