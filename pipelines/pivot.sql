-- Sensors as columns: one row per device and minute, with the mean of each sensor.

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

CREATE TABLE device_minutes (
  device_id STRING,
  minute_start TIMESTAMP(3),
  temperature DOUBLE,
  humidity DOUBLE,
  pressure DOUBLE,
  other BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'device_minutes',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'device_minutes'
);

INSERT INTO device_minutes
SELECT device_id, window_start,
  AVG(`value`) FILTER (WHERE sensor = 'temperature'),
  AVG(`value`) FILTER (WHERE sensor = 'humidity'),
  AVG(`value`) FILTER (WHERE sensor = 'pressure'),
  COUNT(*) FILTER (WHERE sensor NOT IN ('temperature', 'humidity', 'pressure'))
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY device_id, window_start, window_end;
