-- DISTINCT aggregates in sessions, whose parts merge.
CREATE TABLE readings (
  device_id STRING, sensor STRING, n INT, price DECIMAL(10, 2), ok BOOLEAN, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '30' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE sessions (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, sensors BIGINT, total INT, fine BIGINT, highest INT) WITH ('connector' = 'kafka', 'topic' = 'sessions', 'format' = 'json');
CREATE TABLE of_all (s TIMESTAMP(3), devices BIGINT, prices DECIMAL(38, 2), mean INT) WITH ('connector' = 'kafka', 'topic' = 'of_all', 'format' = 'json');
CREATE TABLE legacy (d STRING, s TIMESTAMP_LTZ(3), c BIGINT, sensors BIGINT) WITH ('connector' = 'kafka', 'topic' = 'legacy', 'format' = 'json');
INSERT INTO sessions SELECT device_id, window_start, window_end, COUNT(*), COUNT(DISTINCT sensor), SUM(DISTINCT n), COUNT(DISTINCT n) FILTER (WHERE ok), MAX(DISTINCT n)
FROM TABLE(SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO of_all SELECT window_start, COUNT(DISTINCT device_id), SUM(DISTINCT price), AVG(DISTINCT n)
FROM TABLE(SESSION(TABLE readings, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY window_start, window_end;
INSERT INTO legacy SELECT device_id, SESSION_START(ts, INTERVAL '5' SECOND), COUNT(*), COUNT(DISTINCT sensor) FROM readings GROUP BY device_id, SESSION(ts, INTERVAL '5' SECOND);
