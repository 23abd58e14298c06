CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE results (e TIMESTAMP(3), devices BIGINT, total BIGINT) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
CREATE TABLE sessions (e TIMESTAMP(3), devices BIGINT) WITH ('connector' = 'kafka', 'topic' = 'sessions', 'value.format' = 'json');
-- nested windows: the inner windows are merged from slices, the outer ones group complete inner windows
INSERT INTO results SELECT window_end, COUNT(*), SUM(c) FROM (
  SELECT device_id, window_start, window_end, COUNT(*) AS c
  FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY device_id, window_start, window_end
) GROUP BY window_start, window_end;
INSERT INTO sessions SELECT window_end, COUNT(*) FROM (
  SELECT device_id, window_start, window_end, MAX(`value`) AS m
  FROM TABLE(SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end
) WHERE m > 1 GROUP BY window_start, window_end;
