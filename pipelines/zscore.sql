-- Sensors whose newest value is more than three standard deviations from their own mean over the last ten minutes.
-- Sensors with constant values are excluded, because their standard deviation is zero.

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

CREATE TABLE alert_zscore (
  device_id STRING,
  sensor STRING,
  until_ts TIMESTAMP(3),
  newest DOUBLE,
  mean DOUBLE,
  z DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'alert_zscore',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'alert_zscore'
);

CREATE VIEW spread AS
-- Flink does not support LAST_VALUE in overlapping windows, so the newest value is taken from the maximum timestamp.
SELECT device_id, sensor, window_end AS until_ts, AVG(`value`) AS mean, STDDEV_POP(`value`) AS deviation,
  CAST(SPLIT_INDEX(MAX(DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm:ss.SSS') || '|' || CAST(`value` AS STRING)), '|', 1) AS DOUBLE) AS newest
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '10' MINUTE))
GROUP BY device_id, sensor, window_start, window_end;

INSERT INTO alert_zscore
SELECT device_id, sensor, until_ts, newest, mean, ROUND((newest - mean) / deviation, 2)
FROM spread
WHERE deviation > 0 AND ABS(newest - mean) > 3 * deviation;
