-- Rows ahead of the test's clock, which starts at 2026-01-01: a device with a wrong clock must not make other rows late.
SET 'weir.watermark.max-ahead' = '1 h';
CREATE TABLE readings (device_id STRING, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE results (s TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'results', 'format' = 'json');
INSERT INTO results SELECT window_start, COUNT(*), SUM(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
