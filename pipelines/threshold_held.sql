-- Temperature above 30 for three whole minutes: an alert each minute while this lasts.
-- All readings of a window must be above the threshold, and it must have at least three.

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

CREATE TABLE alert_threshold (
  device_id STRING,
  since TIMESTAMP(3),
  until_ts TIMESTAMP(3),
  lowest DOUBLE,
  readings BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'alert_threshold',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'alert_threshold'
);

INSERT INTO alert_threshold
SELECT device_id, window_start, window_end, MIN(`value`), COUNT(*)
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '3' MINUTE))
WHERE sensor = 'temperature'
GROUP BY device_id, window_start, window_end
HAVING MIN(`value`) > 30 AND COUNT(*) >= 3;
