-- The three hottest devices of each minute, by highest temperature.
-- The ranking spans all partitions, so the rows go through a repartition topic.

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

CREATE TABLE hottest_devices (
  window_start TIMESTAMP(3),
  place BIGINT,
  device_id STRING,
  highest DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'hottest_devices',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'hottest_devices'
);

CREATE VIEW highest_per_minute AS
SELECT device_id, window_start, window_end, MAX(`value`) AS highest
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
WHERE sensor = 'temperature'
GROUP BY device_id, window_start, window_end;

INSERT INTO hottest_devices
SELECT window_start, place, device_id, highest
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY highest DESC, device_id) AS place
  FROM highest_per_minute
)
WHERE place <= 3;
