-- Late rows of OVER aggregates: unbounded frames compare a row with the watermark, bounded ones with the last row of its key.
CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ok BOOLEAN, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE moving (device_id STRING, ts TIMESTAMP_LTZ(3), mean DOUBLE, low INT, readings BIGINT) WITH ('connector' = 'kafka', 'topic' = 'moving', 'format' = 'json');
CREATE TABLE recent (device_id STRING, ts TIMESTAMP_LTZ(3), mean DOUBLE, sensors BIGINT) WITH ('connector' = 'kafka', 'topic' = 'recent', 'format' = 'json');
CREATE TABLE totals_of (device_id STRING, ts TIMESTAMP_LTZ(3), total INT, fine BIGINT, sensors BIGINT, first_ INT, last_ INT) WITH ('connector' = 'kafka', 'topic' = 'totals_of', 'format' = 'json');
CREATE TABLE counted (device_id STRING, ts TIMESTAMP_LTZ(3), readings BIGINT) WITH ('connector' = 'kafka', 'topic' = 'counted', 'format' = 'json');
CREATE TABLE rates (device_id STRING, sensor STRING, ts TIMESTAMP_LTZ(3), `value` DOUBLE, before_ DOUBLE, two_before DOUBLE, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'rates', 'format' = 'json');
CREATE TABLE per_minute (device_id STRING, since TIMESTAMP(3), highest INT) WITH ('connector' = 'kafka', 'topic' = 'per_minute', 'format' = 'json');
CREATE TABLE trend (device_id STRING, t TIMESTAMP_LTZ(3), c BIGINT, before_ BIGINT) WITH ('connector' = 'kafka', 'topic' = 'trend', 'format' = 'json');
INSERT INTO moving SELECT device_id, ts, AVG(`value`) OVER w, MIN(n) OVER w, COUNT(*) OVER w FROM readings
WINDOW w AS (PARTITION BY device_id ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);
INSERT INTO recent SELECT device_id, ts, AVG(`value`) OVER (PARTITION BY device_id ORDER BY ts RANGE BETWEEN INTERVAL '30' SECOND PRECEDING AND CURRENT ROW),
  COUNT(DISTINCT sensor) OVER (PARTITION BY device_id ORDER BY ts RANGE BETWEEN INTERVAL '30' SECOND PRECEDING AND CURRENT ROW) FROM readings;
INSERT INTO totals_of SELECT device_id, ts, SUM(n) OVER w, COUNT(CASE WHEN ok THEN 1 END) OVER w, COUNT(DISTINCT sensor) OVER w, FIRST_VALUE(n) OVER w, LAST_VALUE(n) OVER w
FROM readings WINDOW w AS (PARTITION BY device_id ORDER BY ts);
INSERT INTO counted SELECT device_id, ts, COUNT(*) OVER (PARTITION BY device_id ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM readings;
INSERT INTO rates SELECT device_id, sensor, ts, `value`, LAG(`value`) OVER w, LAG(COALESCE(`value`, 0e0), 2, -1e0) OVER w, COUNT(*) OVER w FROM readings WINDOW w AS (PARTITION BY device_id, sensor ORDER BY ts);
CREATE VIEW totals AS SELECT device_id, ts, SUM(n) OVER (PARTITION BY device_id ORDER BY ts) AS total FROM readings;
INSERT INTO per_minute SELECT device_id, window_start, MAX(total) FROM TABLE(TUMBLE(TABLE totals, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end;
CREATE VIEW counts AS SELECT device_id, window_time AS t, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end, window_time;
INSERT INTO trend SELECT device_id, t, c, LAG(c) OVER (PARTITION BY device_id ORDER BY t) FROM counts;
