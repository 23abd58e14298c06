-- Windows of every kind: bounds, offsets, empty windows, and out-of-order rows.
CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE VIEW inner_windows AS SELECT device_id, window_time AS t, COUNT(*) AS c, MAX(`value`) AS m
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end, window_time;
CREATE VIEW small AS SELECT * FROM readings WHERE n < 100 AND `value` < 100;
CREATE TABLE tumble (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, cv BIGINT, su DOUBLE, av DOUBLE, mi DOUBLE, ma DOUBLE, sn INT, an INT) WITH ('connector' = 'kafka', 'topic' = 'tumble', 'value.format' = 'json');
CREATE TABLE tumble_time (d STRING, t TIMESTAMP_LTZ(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'tumble_time', 'value.format' = 'json');
CREATE TABLE tumble_offset (s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'tumble_offset', 'value.format' = 'json');
CREATE TABLE tumble_before (s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'tumble_before', 'value.format' = 'json');
CREATE TABLE tumble_all (e TIMESTAMP(3), c BIGINT, u BIGINT) WITH ('connector' = 'kafka', 'topic' = 'tumble_all', 'value.format' = 'json');
CREATE TABLE tumble_filtered (d STRING, e TIMESTAMP(3), pos BIGINT, t DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'tumble_filtered', 'value.format' = 'json');
CREATE TABLE tumble_having (d STRING, e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'tumble_having', 'value.format' = 'json');
CREATE TABLE tumble_first (d STRING, e TIMESTAMP(3), f DOUBLE, l DOUBLE, fn INT, last_n INT) WITH ('connector' = 'kafka', 'topic' = 'tumble_first', 'value.format' = 'json');
CREATE TABLE tumble_expression (k STRING, e TIMESTAMP(3), r DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'tumble_expression', 'value.format' = 'json');
CREATE TABLE tumble_distinct (e TIMESTAMP(3), dn BIGINT, sd INT, ds BIGINT) WITH ('connector' = 'kafka', 'topic' = 'tumble_distinct', 'value.format' = 'json');
CREATE TABLE hop (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, su DOUBLE, av DOUBLE, mi DOUBLE, ma DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'hop', 'value.format' = 'json');
CREATE TABLE hop_offset (s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hop_offset', 'value.format' = 'json');
CREATE TABLE hop_distinct (s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hop_distinct', 'value.format' = 'json');
CREATE TABLE hop_rows (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), n INT) WITH ('connector' = 'kafka', 'topic' = 'hop_rows', 'value.format' = 'json');
CREATE TABLE tumble_rows (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), n INT) WITH ('connector' = 'kafka', 'topic' = 'tumble_rows', 'value.format' = 'json');
CREATE TABLE cumulate (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'cumulate', 'value.format' = 'json');
CREATE TABLE cumulate_offset (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'cumulate_offset', 'value.format' = 'json');
CREATE TABLE session (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'session', 'value.format' = 'json');
CREATE TABLE session_all (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'session_all', 'value.format' = 'json');
CREATE TABLE session_two (d STRING, x STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'session_two', 'value.format' = 'json');
CREATE TABLE older_tumble (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'older_tumble', 'value.format' = 'json');
CREATE TABLE older_hop (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'older_hop', 'value.format' = 'json');
CREATE TABLE older_session (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'older_session', 'value.format' = 'json');
CREATE TABLE windows_again (e TIMESTAMP(3), devices BIGINT, total DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'windows_again', 'value.format' = 'json');
CREATE TABLE windows_of_windows (s TIMESTAMP(3), c BIGINT, total DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'windows_of_windows', 'value.format' = 'json');
CREATE TABLE deviations (e TIMESTAMP(3), vp DOUBLE, vs DOUBLE, sp DOUBLE, ss DOUBLE, np INT, ns INT, sdp INT, sds INT) WITH ('connector' = 'kafka', 'topic' = 'deviations', 'value.format' = 'json');
INSERT INTO tumble
SELECT device_id, window_start, window_end, COUNT(*), COUNT(`value`), SUM(`value`), AVG(`value`), MIN(`value`), MAX(`value`), SUM(n), AVG(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO tumble_time
SELECT device_id, window_time, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end, window_time;
INSERT INTO tumble_offset
SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '3' SECOND)) GROUP BY window_start, window_end;
INSERT INTO tumble_before
SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '-3' SECOND)) GROUP BY window_start, window_end;
INSERT INTO tumble_all
SELECT window_end, COUNT(*), COUNT(DISTINCT device_id) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO tumble_filtered
SELECT device_id, window_end, COUNT(*) FILTER (WHERE `value` > 0), SUM(`value`) FILTER (WHERE sensor = 't') FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO tumble_having
SELECT device_id, window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) WHERE sensor = 't' GROUP BY device_id, window_start, window_end HAVING COUNT(*) > 1;
INSERT INTO tumble_first
SELECT device_id, window_end, FIRST_VALUE(`value`), LAST_VALUE(`value`), FIRST_VALUE(n), LAST_VALUE(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO tumble_expression
SELECT UPPER(device_id), window_end, ROUND(SUM(`value`) / COUNT(*), 2) + 1 FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY UPPER(device_id), window_start, window_end;
INSERT INTO tumble_distinct
SELECT window_end, COUNT(DISTINCT n), SUM(DISTINCT n), COUNT(DISTINCT sensor) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO hop
SELECT device_id, window_start, window_end, COUNT(*), SUM(`value`), AVG(`value`), MIN(`value`), MAX(`value`) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO hop_offset
SELECT window_start, COUNT(*) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND, INTERVAL '1' SECOND)) GROUP BY window_start, window_end;
INSERT INTO hop_distinct
SELECT window_start, COUNT(DISTINCT sensor) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY window_start, window_end;
INSERT INTO hop_rows
SELECT device_id, window_start, window_end, n FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) WHERE n > 1;
INSERT INTO tumble_rows
SELECT device_id, window_start, window_end, window_time, n FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND));
INSERT INTO cumulate
SELECT device_id, window_start, window_end, COUNT(*), SUM(`value`) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end;
INSERT INTO cumulate_offset
SELECT window_start, window_end, COUNT(*) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '1' MINUTE, INTERVAL '5' SECOND)) GROUP BY window_start, window_end;
INSERT INTO session
SELECT device_id, window_start, window_end, COUNT(*), SUM(`value`) FROM TABLE(SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO session_all
SELECT window_start, window_end, COUNT(*) FROM TABLE(SESSION(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
INSERT INTO session_two
SELECT device_id, sensor, window_start, window_end, COUNT(*) FROM TABLE(SESSION(TABLE readings PARTITION BY (device_id, sensor), DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, sensor, window_start, window_end;
INSERT INTO older_tumble
SELECT device_id, TUMBLE_START(ts, INTERVAL '10' SECOND), TUMBLE_END(ts, INTERVAL '10' SECOND), TUMBLE_ROWTIME(ts, INTERVAL '10' SECOND), COUNT(*) FROM readings GROUP BY device_id, TUMBLE(ts, INTERVAL '10' SECOND);
INSERT INTO older_hop
SELECT device_id, HOP_START(ts, INTERVAL '15' SECOND, INTERVAL '20' SECOND), HOP_END(ts, INTERVAL '15' SECOND, INTERVAL '20' SECOND), COUNT(*) FROM readings GROUP BY device_id, HOP(ts, INTERVAL '15' SECOND, INTERVAL '20' SECOND);
INSERT INTO older_session
SELECT device_id, SESSION_START(ts, INTERVAL '5' SECOND), SESSION_END(ts, INTERVAL '5' SECOND), COUNT(*) FROM readings GROUP BY device_id, SESSION(ts, INTERVAL '5' SECOND);
INSERT INTO windows_again
SELECT window_end, COUNT(*), SUM(m) FROM (SELECT device_id, window_start, window_end, MAX(`value`) AS m FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end) GROUP BY window_start, window_end;
INSERT INTO windows_of_windows
SELECT window_start, SUM(c), SUM(m) FROM TABLE(TUMBLE(TABLE inner_windows, DESCRIPTOR(t), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO deviations
SELECT window_end, VAR_POP(`value`), VAR_SAMP(`value`), STDDEV_POP(`value`), STDDEV_SAMP(`value`), VAR_POP(n), VAR_SAMP(n), STDDEV_POP(n), STDDEV_SAMP(n) FROM TABLE(TUMBLE(TABLE small, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
