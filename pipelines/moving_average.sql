-- Average of the last five minutes per sensor, updated every minute.
-- The first INTERVAL is the slide, the second the window size, which must be a multiple of the slide.

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

CREATE TABLE device_moving_average (
  device_id STRING,
  sensor STRING,
  until_ts TIMESTAMP(3),
  average DOUBLE,
  readings BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'device_moving_average',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'device_moving_average'
);

INSERT INTO device_moving_average
SELECT device_id, sensor, window_end, AVG(`value`), COUNT(*)
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE))
GROUP BY device_id, sensor, window_start, window_end;
