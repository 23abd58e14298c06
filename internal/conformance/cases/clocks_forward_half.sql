-- Windows over TIMESTAMP_LTZ when clocks go back or forward.
SET 'table.local-time-zone' = 'Australia/Lord_Howe';
CREATE TABLE readings (id STRING, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json', 'topic' = 'clocks', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE hours (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'hours', 'format' = 'json');
CREATE TABLE halves (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'halves', 'format' = 'json');
CREATE TABLE tens (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'tens', 'format' = 'json');
CREATE TABLE days (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'days', 'format' = 'json');
CREATE TABLE hops (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'hops', 'format' = 'json');
CREATE TABLE hops2 (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'hops2', 'format' = 'json');
CREATE TABLE steps (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'steps', 'format' = 'json');
CREATE TABLE visits (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'visits', 'format' = 'json');
INSERT INTO hours SELECT window_start, window_end, window_time, COUNT(*), SUM(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, window_time;
INSERT INTO halves SELECT window_start, window_end, window_time, COUNT(*), SUM(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' MINUTE)) GROUP BY window_start, window_end, window_time;
INSERT INTO tens SELECT window_start, window_end, window_time, COUNT(*), SUM(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' MINUTE)) GROUP BY window_start, window_end, window_time;
INSERT INTO days SELECT window_start, window_end, window_time, COUNT(*), SUM(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end, window_time;
INSERT INTO hops SELECT window_start, window_end, window_time, COUNT(*), SUM(n) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' MINUTE, INTERVAL '90' MINUTE)) GROUP BY window_start, window_end, window_time;
INSERT INTO hops2 SELECT window_start, window_end, window_time, COUNT(*), SUM(n) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '2' HOUR)) GROUP BY window_start, window_end, window_time;
INSERT INTO steps SELECT window_start, window_end, window_time, COUNT(*), SUM(n) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' MINUTE, INTERVAL '3' HOUR)) GROUP BY window_start, window_end, window_time;
INSERT INTO visits SELECT window_start, window_end, window_time, COUNT(*), SUM(n) FROM TABLE(SESSION(TABLE readings PARTITION BY id, DESCRIPTOR(ts), INTERVAL '25' MINUTE)) GROUP BY id, window_start, window_end, window_time;
