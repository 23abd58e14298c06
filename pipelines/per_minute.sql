-- Statistics per device and sensor for each minute.
-- Change the INTERVAL for other windows. Late readings go to per_minute.late.

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

CREATE TABLE device_per_minute (
  device_id STRING,
  sensor STRING,
  window_start TIMESTAMP(3),
  window_end TIMESTAMP(3),
  readings BIGINT,
  minimum DOUBLE,
  maximum DOUBLE,
  average DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'device_per_minute',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'device_per_minute'
);

INSERT INTO device_per_minute
SELECT device_id, sensor, window_start, window_end, COUNT(*), MIN(`value`), MAX(`value`), AVG(`value`)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY device_id, sensor, window_start, window_end;
