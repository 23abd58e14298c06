-- Devices that have been silent for ten minutes: time of the last reading, and how long the device had been online.
-- A session ends when the watermark of its partition has passed the gap, so other devices must still send.

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

CREATE TABLE device_offline (
  device_id STRING,
  online_since TIMESTAMP(3),
  last_seen TIMESTAMP_LTZ(3),
  readings BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'device_offline',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'device_offline'
);

INSERT INTO device_offline
SELECT device_id, window_start, MAX(ts), COUNT(*)
FROM TABLE(SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
GROUP BY device_id, window_start, window_end;
