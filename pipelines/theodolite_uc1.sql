-- Theodolite UC1, database storage: each record is converted and stored as it arrives.
-- It has no state, so it shows the maximum throughput of a pipeline.

CREATE TABLE readings (
  device_id STRING,
  sensor STRING,
  `value` DOUBLE,
  unit STRING,
  ts TIMESTAMP_LTZ(3),
  seq BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'sensor_data_tx',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE uc1_stored (
  identifier STRING,
  `timestamp` BIGINT,
  value_in_w DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'uc1_stored',
  'key.format' = 'raw',
  'key.fields' = 'identifier',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'uc1_stored'
);

INSERT INTO uc1_stored
SELECT device_id || '/' || sensor, seq, `value`
FROM readings
WHERE `value` IS NOT NULL;
