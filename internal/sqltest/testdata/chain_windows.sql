-- Windows over a topic written by another INSERT: that topic is complete only when its own input is.
CREATE TABLE counted (b BOOLEAN, s TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'counted', 'format' = 'json');
CREATE TABLE mid (b BOOLEAN, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '90' DAY) WITH ('connector' = 'kafka', 'topic' = 'mid', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE readings (device_id STRING, b BOOLEAN, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '1' HOUR) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
INSERT INTO counted SELECT b, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE mid, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY b, window_start, window_end;
INSERT INTO mid SELECT b, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts ASC) AS rn FROM readings) WHERE rn = 1;
