CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE results (sensor STRING, s TIMESTAMP(3), rank_ BIGINT, device_id STRING, hottest DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
CREATE VIEW per_minute AS
SELECT device_id, sensor, window_start, window_end, MAX(`value`) AS hottest
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY device_id, sensor, window_start, window_end;
INSERT INTO results SELECT sensor, window_start, n, device_id, hottest FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY sensor, window_start, window_end ORDER BY hottest DESC, device_id) AS n FROM per_minute
) WHERE n <= 2;
