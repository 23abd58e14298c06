-- Late and out-of-order rows, down to one millisecond around the watermark.
CREATE TABLE readings (
  device_id STRING, `value` DOUBLE, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE plain (
  device_id STRING, `value` DOUBLE, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts
) WITH ('connector' = 'kafka', 'topic' = 'plain', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE tumbles (d STRING, s TIMESTAMP(3), c BIGINT, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'tumbles', 'value.format' = 'json');
CREATE TABLE hops (d STRING, s TIMESTAMP(3), c BIGINT, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'hops', 'value.format' = 'json');
CREATE TABLE cumulated (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'cumulated', 'value.format' = 'json');
CREATE TABLE sessions (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'sessions', 'value.format' = 'json');
CREATE TABLE tumbles_plain (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP(3), c BIGINT, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'tumbles_plain', 'value.format' = 'json');
CREATE TABLE older (d STRING, s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'older', 'value.format' = 'json');
CREATE TABLE top_one (d STRING, s TIMESTAMP(3), v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'top_one', 'value.format' = 'json');
CREATE TABLE all_rows (d STRING, v DOUBLE, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'all_rows', 'value.format' = 'json');
INSERT INTO tumbles
SELECT device_id, window_start, COUNT(*), SUM(`value`) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO hops
SELECT device_id, window_start, COUNT(*), SUM(`value`) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO cumulated
SELECT window_start, window_end, COUNT(*), SUM(`value`) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY window_start, window_end;
INSERT INTO sessions
SELECT device_id, window_start, window_end, COUNT(*), SUM(`value`) FROM TABLE(SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO tumbles_plain
SELECT device_id, window_start, window_end, window_time, COUNT(*), SUM(`value`) FROM TABLE(TUMBLE(TABLE plain, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end, window_time;
INSERT INTO older
SELECT device_id, TUMBLE_START(ts, INTERVAL '10' SECOND), COUNT(*) FROM plain GROUP BY device_id, TUMBLE(ts, INTERVAL '10' SECOND);
INSERT INTO top_one
SELECT device_id, window_start, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY `value` DESC) AS rn FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE rn = 1;
INSERT INTO all_rows
SELECT device_id, `value`, ts FROM readings;
