CREATE TABLE readings (
  device_id STRING, sensor STRING, v DOUBLE, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE slow (device_id STRING, v DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '20' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'slow', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE VIEW warm AS SELECT device_id, v, ts FROM readings WHERE v > 10;
CREATE VIEW warmer AS SELECT device_id, v, ts FROM warm WHERE v > 20;
CREATE TABLE results (device_id STRING, s TIMESTAMP(3), c BIGINT, total DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
INSERT INTO results
WITH both_of AS (SELECT device_id, v, ts FROM warmer UNION ALL SELECT device_id, v * 10, ts FROM slow),
  hot AS (SELECT * FROM both_of WHERE v < 1000)
SELECT device_id, window_start, COUNT(*), SUM(v) FROM TABLE(TUMBLE(TABLE hot, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
