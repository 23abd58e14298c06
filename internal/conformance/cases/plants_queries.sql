-- Queries over four partitions that progress at different speeds; each device has rows in all of them.
CREATE TABLE readings (device_id STRING, sensor STRING, site STRING, v DOUBLE, n INT, ok BOOLEAN, price DECIMAL(10, 2), tags ARRAY<STRING>, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'plants', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW both_kinds AS SELECT device_id, n, ts FROM readings WHERE sensor = 'temp' UNION ALL SELECT device_id, n * 10, ts FROM readings WHERE sensor <> 'temp';
CREATE VIEW per_device AS SELECT device_id, window_time AS t, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end, window_time;
CREATE TABLE over_total (d STRING, ts TIMESTAMP_LTZ(3), total INT) WITH ('connector' = 'kafka', 'topic' = 'over_total', 'format' = 'json');
CREATE TABLE over_rows (d STRING, ts TIMESTAMP_LTZ(3), av DOUBLE, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'over_rows', 'format' = 'json');
CREATE TABLE over_range (s STRING, ts TIMESTAMP_LTZ(3), hi DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'over_range', 'format' = 'json');
CREATE TABLE over_lag (d STRING, ts TIMESTAMP_LTZ(3), n INT, before_ INT) WITH ('connector' = 'kafka', 'topic' = 'over_lag', 'format' = 'json');
CREATE TABLE over_lag3 (d STRING, ts TIMESTAMP_LTZ(3), before_ STRING) WITH ('connector' = 'kafka', 'topic' = 'over_lag3', 'format' = 'json');
CREATE TABLE over_all (ts TIMESTAMP_LTZ(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'over_all', 'format' = 'json');
CREATE TABLE over_first (d STRING, ts TIMESTAMP_LTZ(3), f INT) WITH ('connector' = 'kafka', 'topic' = 'over_first', 'format' = 'json');
CREATE TABLE dedup_first (d STRING, n INT, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'dedup_first', 'format' = 'json');
CREATE TABLE dedup_first_two (d STRING, s STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'dedup_first_two', 'format' = 'json');
CREATE TABLE dedup_last (d STRING, n INT, ts TIMESTAMP_LTZ(3), PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'dedup_last', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE topn_window (s TIMESTAMP(3), r BIGINT, d STRING, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'topn_window', 'format' = 'json');
CREATE TABLE topn_window_key (s TIMESTAMP(3), r BIGINT, d STRING, p DECIMAL(10, 2)) WITH ('connector' = 'kafka', 'topic' = 'topn_window_key', 'format' = 'json');
CREATE TABLE topn_of_groups (s TIMESTAMP(3), r BIGINT, d STRING, total INT) WITH ('connector' = 'kafka', 'topic' = 'topn_of_groups', 'format' = 'json');
CREATE TABLE group_device (d STRING, c BIGINT, su INT, lo DOUBLE, hi DOUBLE, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'group_device', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE group_distinct (s STRING, c BIGINT, PRIMARY KEY (s) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'group_distinct', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE group_all (k INT, c BIGINT, p DECIMAL(38, 2), PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'group_all', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE group_having (d STRING, c BIGINT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'group_having', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE group_of_groups (c BIGINT, devices BIGINT, PRIMARY KEY (c) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'group_of_groups', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE max_of_groups (k STRING, most BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'max_of_groups', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE grouping_sets (s TIMESTAMP(3), d STRING, x STRING, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'grouping_sets', 'format' = 'json');
CREATE TABLE rolled_up (s TIMESTAMP(3), d STRING, x STRING, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'rolled_up', 'format' = 'json');
CREATE TABLE unnested (d STRING, tag STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'unnested', 'format' = 'json');
CREATE TABLE tags_in_windows (tag STRING, s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'tags_in_windows', 'format' = 'json');
CREATE TABLE union_window (s TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'union_window', 'format' = 'json');
CREATE TABLE union_session (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'union_session', 'format' = 'json');
CREATE TABLE union_over (d STRING, ts TIMESTAMP_LTZ(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'union_over', 'format' = 'json');
CREATE TABLE nested_windows (s TIMESTAMP(3), c BIGINT, most BIGINT) WITH ('connector' = 'kafka', 'topic' = 'nested_windows', 'format' = 'json');
CREATE TABLE nested_hop (s TIMESTAMP(3), c BIGINT, total BIGINT) WITH ('connector' = 'kafka', 'topic' = 'nested_hop', 'format' = 'json');
CREATE TABLE nested_lag (d STRING, t TIMESTAMP_LTZ(3), c BIGINT, before_ BIGINT) WITH ('connector' = 'kafka', 'topic' = 'nested_lag', 'format' = 'json');
CREATE TABLE changes (d STRING, ts TIMESTAMP_LTZ(3), n INT) WITH ('connector' = 'kafka', 'topic' = 'changes', 'format' = 'json');
CREATE TABLE filtered (d STRING, v DOUBLE, label STRING) WITH ('connector' = 'kafka', 'topic' = 'filtered', 'format' = 'json');
CREATE TABLE older_session (d STRING, s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'older_session', 'format' = 'json');
CREATE TABLE older_hop (s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'older_hop', 'format' = 'json');
INSERT INTO over_total
SELECT device_id, ts, SUM(n) OVER (PARTITION BY device_id ORDER BY ts) FROM readings;
INSERT INTO over_rows
SELECT device_id, ts, AVG(v) OVER (PARTITION BY device_id ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW), COUNT(*) OVER (PARTITION BY device_id ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM readings;
INSERT INTO over_range
SELECT sensor, ts, MAX(v) OVER (PARTITION BY sensor ORDER BY ts RANGE BETWEEN INTERVAL '30' SECOND PRECEDING AND CURRENT ROW) FROM readings;
INSERT INTO over_lag
SELECT device_id, ts, n, LAG(n) OVER (PARTITION BY device_id ORDER BY ts) FROM readings;
INSERT INTO over_lag3
SELECT device_id, ts, LAG(sensor, 3) OVER (PARTITION BY device_id ORDER BY ts) FROM readings;
INSERT INTO over_all
SELECT ts, COUNT(*) OVER (ORDER BY ts) FROM readings;
INSERT INTO over_first
SELECT device_id, ts, FIRST_VALUE(n) OVER (PARTITION BY device_id ORDER BY ts) FROM readings;
INSERT INTO dedup_first
SELECT device_id, n, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts) AS rn FROM readings) WHERE rn = 1;
INSERT INTO dedup_first_two
SELECT device_id, sensor, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id, sensor ORDER BY ts) AS rn FROM readings) WHERE rn = 1;
INSERT INTO dedup_last
SELECT device_id, n, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM readings) WHERE rn = 1;
INSERT INTO topn_window
SELECT window_start, rn, device_id, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY ts DESC) AS rn FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) WHERE rn <= 3;
INSERT INTO topn_window_key
SELECT window_start, rn, sensor, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, sensor ORDER BY price DESC, ts) AS rn FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '2' MINUTE))) WHERE rn <= 2;
INSERT INTO topn_of_groups
SELECT window_start, rn, device_id, total FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY total DESC, device_id) AS rn FROM (SELECT device_id, window_start, window_end, SUM(n) AS total FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end)) WHERE rn <= 2;
INSERT INTO group_device
SELECT device_id, COUNT(*), SUM(n), MIN(v), MAX(v) FROM readings GROUP BY device_id;
INSERT INTO group_distinct
SELECT sensor, COUNT(DISTINCT device_id) FROM readings GROUP BY sensor;
INSERT INTO group_all
SELECT 1, COUNT(*), SUM(price) FROM readings;
INSERT INTO group_having
SELECT device_id, COUNT(*) FROM readings GROUP BY device_id HAVING COUNT(*) > 40;
INSERT INTO group_of_groups
SELECT c / 10, COUNT(*) FROM (SELECT device_id, COUNT(*) AS c FROM readings GROUP BY device_id) GROUP BY c / 10;
INSERT INTO max_of_groups
SELECT 'most', MAX(c) FROM (SELECT device_id, sensor, COUNT(*) AS c FROM readings GROUP BY device_id, sensor);
INSERT INTO grouping_sets
SELECT window_start, device_id, sensor, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, GROUPING SETS ((device_id), (sensor), ());
INSERT INTO rolled_up
SELECT window_start, site, sensor, SUM(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, ROLLUP (site, sensor);
INSERT INTO unnested
SELECT device_id, tag, n FROM readings CROSS JOIN UNNEST(tags) AS t (tag);
INSERT INTO tags_in_windows
SELECT tag, window_start, COUNT(*) FROM (SELECT tag, window_start, window_end FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) CROSS JOIN UNNEST(tags) AS t (tag)) GROUP BY tag, window_start, window_end;
INSERT INTO union_window
SELECT window_start, COUNT(*), SUM(n) FROM TABLE(TUMBLE(TABLE both_kinds, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end;
INSERT INTO union_session
SELECT device_id, window_start, window_end, COUNT(*) FROM TABLE(SESSION(TABLE both_kinds PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO union_over
SELECT device_id, ts, COUNT(*) OVER (PARTITION BY device_id ORDER BY ts) FROM both_kinds;
INSERT INTO nested_windows
SELECT window_start, COUNT(*), MAX(c) FROM TABLE(TUMBLE(TABLE per_device, DESCRIPTOR(t), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO nested_hop
SELECT window_start, COUNT(*), SUM(c) FROM TABLE(HOP(TABLE per_device, DESCRIPTOR(t), INTERVAL '30' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO nested_lag
SELECT device_id, t, c, LAG(c) OVER (PARTITION BY device_id ORDER BY t) FROM per_device;
INSERT INTO changes
SELECT device_id, ts, n FROM (SELECT device_id, ts, n, LAG(n) OVER (PARTITION BY device_id ORDER BY ts) AS b FROM readings) WHERE b IS NULL OR ABS(n - b) > 20;
INSERT INTO filtered
SELECT device_id, v * 2, CASE WHEN v > 50 THEN 'high' WHEN v < 0 THEN 'low' ELSE UPPER(sensor) END FROM readings WHERE ok AND site IS NOT NULL;
INSERT INTO older_session
SELECT device_id, SESSION_START(ts, INTERVAL '15' SECOND), COUNT(*) FROM readings GROUP BY device_id, SESSION(ts, INTERVAL '15' SECOND);
INSERT INTO older_hop
SELECT HOP_START(ts, INTERVAL '20' SECOND, INTERVAL '1' MINUTE), COUNT(*) FROM readings GROUP BY HOP(ts, INTERVAL '20' SECOND, INTERVAL '1' MINUTE);
