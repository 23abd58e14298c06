-- The newest reading per device and sensor, in a compacted topic.
-- Newest means by event time: a late reading does not replace a newer one.

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

CREATE TABLE device_latest (
  device_id STRING,
  sensor STRING,
  `value` DOUBLE,
  ts TIMESTAMP_LTZ(3),
  PRIMARY KEY (device_id, sensor) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'device_latest',
  'key.format' = 'json',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'device_latest'
);

INSERT INTO device_latest
SELECT device_id, sensor, `value`, ts
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id, sensor ORDER BY ts DESC) AS place
  FROM readings
)
WHERE place = 1;
