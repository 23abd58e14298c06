SET 'pipeline.name' = '{{.Name}}';

CREATE TABLE readings (
  device_id STRING,
  `value` DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = '{{.Name}}-readings',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE totals (
  device_id STRING,
  readings BIGINT,
  lowest DOUBLE,
  highest DOUBLE,
  mean DOUBLE,
  PRIMARY KEY (device_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = '{{.Name}}-totals',
  'key.format' = 'raw',
  'value.format' = 'json'
);

INSERT INTO totals
SELECT device_id, COUNT(*), MIN(`value`), MAX(`value`), AVG(`value`)
FROM readings
GROUP BY device_id;
