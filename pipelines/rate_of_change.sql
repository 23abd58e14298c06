-- Rate of change per sensor: last minus first value of each minute, in units per minute.
-- Minutes with a single reading are left out.

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

CREATE TABLE device_rate (
  device_id STRING,
  sensor STRING,
  window_start TIMESTAMP(3),
  per_minute DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'device_rate',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'device_rate'
);

INSERT INTO device_rate
SELECT device_id, sensor, window_start, LAST_VALUE(`value`) - FIRST_VALUE(`value`)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY device_id, sensor, window_start, window_end
HAVING COUNT(*) > 1;
