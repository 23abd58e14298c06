-- Theodolite UC3, aggregation by time of day: the average per sensor and hour of the day over the last 30 days, updated daily.
-- Hours are in the session's time zone (SET 'table.local-time-zone').

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

CREATE TABLE uc3_by_hour (
  identifier STRING,
  hour_of_day BIGINT,
  until_ts TIMESTAMP(3),
  mean DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'uc3_by_hour',
  'key.format' = 'raw',
  'key.fields' = 'identifier',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'uc3_by_hour'
);

INSERT INTO uc3_by_hour
SELECT device_id, hour_of_day, window_end, AVG(`value`)
FROM (
  SELECT device_id, HOUR(ts) AS hour_of_day, `value`, window_start, window_end
  FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' DAY, INTERVAL '30' DAY))
)
GROUP BY device_id, hour_of_day, window_start, window_end;
