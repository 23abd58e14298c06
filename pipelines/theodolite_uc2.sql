-- Theodolite UC2, downsampling: count, mean, sum, minimum and maximum per sensor in tumbling windows.
-- The benchmark uses windows of one minute.

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

CREATE TABLE uc2_downsampled (
  identifier STRING,
  window_start TIMESTAMP(3),
  readings BIGINT,
  mean DOUBLE,
  total DOUBLE,
  minimum DOUBLE,
  maximum DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'uc2_downsampled',
  'key.format' = 'raw',
  'key.fields' = 'identifier',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'uc2_downsampled'
);

INSERT INTO uc2_downsampled
SELECT sensor, window_start, COUNT(*), AVG(`value`), SUM(`value`), MIN(`value`), MAX(`value`)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY sensor, window_start, window_end;
