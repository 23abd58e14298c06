-- COLLECT and MULTISET: groups, windows of each kind, OVER, DISTINCT, FILTER, NULL, updated and deleted rows, UNNEST, JSON in and out.
CREATE TABLE readings (
  d STRING, code STRING, n INT, x DOUBLE, ok BOOLEAN, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE devices (device_id STRING, site STRING, state STRING, n INT, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE bags (id INT, bag MULTISET<STRING>, nested ROW<b STRING MULTISET, c INT>, many ARRAY<MULTISET<STRING>>)
WITH ('connector' = 'kafka', 'topic' = 'bags', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');

CREATE TABLE per_device (d STRING, codes MULTISET<STRING>, kinds MULTISET<STRING>, fine MULTISET<STRING>, fine_kinds MULTISET<STRING>, c BIGINT, PRIMARY KEY (d) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'per_device', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE everything (k INT, codes MULTISET<STRING>, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'everything', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE numbers (d STRING, n INT, times BIGINT, PRIMARY KEY (d, n) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'numbers', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE doubles (d STRING, x DOUBLE, times BIGINT, PRIMARY KEY (d, x) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'doubles', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE pairs (d STRING, code STRING, n INT, times BIGINT, PRIMARY KEY (d, code, n) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'pairs', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE tumbles (s TIMESTAMP(3), d STRING, codes MULTISET<STRING>, kinds MULTISET<STRING>, fine MULTISET<STRING>) WITH ('connector' = 'kafka', 'topic' = 'tumbles', 'format' = 'json');
CREATE TABLE hops (s TIMESTAMP(3), d STRING, codes MULTISET<STRING>) WITH ('connector' = 'kafka', 'topic' = 'hops', 'format' = 'json');
CREATE TABLE cumulates (s TIMESTAMP(3), e TIMESTAMP(3), d STRING, codes MULTISET<STRING>, kinds MULTISET<STRING>) WITH ('connector' = 'kafka', 'topic' = 'cumulates', 'format' = 'json');
CREATE TABLE sessions (s TIMESTAMP(3), e TIMESTAMP(3), d STRING, codes MULTISET<STRING>, kinds MULTISET<STRING>) WITH ('connector' = 'kafka', 'topic' = 'sessions', 'format' = 'json');
CREATE TABLE of_windows (s TIMESTAMP(3), code STRING) WITH ('connector' = 'kafka', 'topic' = 'of_windows', 'format' = 'json');
CREATE TABLE so_far (d STRING, ts TIMESTAMP(3), codes MULTISET<STRING>) WITH ('connector' = 'kafka', 'topic' = 'so_far', 'format' = 'json');
CREATE TABLE last_three (d STRING, ts TIMESTAMP(3), codes MULTISET<STRING>) WITH ('connector' = 'kafka', 'topic' = 'last_three', 'format' = 'json');
CREATE TABLE recent (d STRING, ts TIMESTAMP(3), codes MULTISET<STRING>) WITH ('connector' = 'kafka', 'topic' = 'recent', 'format' = 'json');
CREATE TABLE sites (site STRING, states MULTISET<STRING>, kinds MULTISET<STRING>, big MULTISET<STRING>, c BIGINT, PRIMARY KEY (site) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE latest_codes (ok BOOLEAN, codes MULTISET<STRING>, PRIMARY KEY (ok) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'latest_codes', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE largest_codes (k INT, codes MULTISET<STRING>, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'largest_codes', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE group_sizes (k INT, sizes MULTISET<STRING>, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'group_sizes', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE state_counts (state STRING, sites BIGINT, PRIMARY KEY (state) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'state_counts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE joined (site STRING, states MULTISET<STRING>, biggest INT, PRIMARY KEY (site) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'joined', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE bags_again (id INT, bag MULTISET<STRING>, nested ROW<b STRING MULTISET, c INT>, many ARRAY<MULTISET<STRING>>, missing BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'bags_again', 'format' = 'json');
CREATE TABLE unpacked (id INT, v STRING) WITH ('connector' = 'kafka', 'topic' = 'unpacked', 'format' = 'json');
CREATE TABLE unpacked_or_null (id INT, v STRING) WITH ('connector' = 'kafka', 'topic' = 'unpacked_or_null', 'format' = 'json');
CREATE TABLE texts (d STRING, code STRING, `only` STRING, cut VARCHAR(4), PRIMARY KEY (d, code) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'texts', 'key.format' = 'json', 'value.format' = 'json');

INSERT INTO per_device
SELECT d, COLLECT(code), COLLECT(DISTINCT code), COLLECT(code) FILTER (WHERE ok), COLLECT(DISTINCT code) FILTER (WHERE n > 2), COUNT(*) FROM readings GROUP BY d;
INSERT INTO everything
SELECT 1, COLLECT(code) FROM readings;
INSERT INTO numbers
SELECT d, v, COUNT(*) FROM (SELECT d, COLLECT(n) AS ns FROM readings GROUP BY d) CROSS JOIN UNNEST(ns) AS u (v) GROUP BY d, v;
INSERT INTO doubles
SELECT d, v, COUNT(*) FROM (SELECT d, COLLECT(x) AS xs FROM readings GROUP BY d) CROSS JOIN UNNEST(xs) AS u (v) GROUP BY d, v;
INSERT INTO pairs
SELECT d, c, v, COUNT(*) FROM (SELECT d, COLLECT(ROW(code, n)) AS pair FROM readings WHERE code IS NOT NULL AND n IS NOT NULL GROUP BY d) CROSS JOIN UNNEST(pair) AS u (c, v) GROUP BY d, c, v;
INSERT INTO tumbles
SELECT window_start, d, COLLECT(code), COLLECT(DISTINCT code), COLLECT(code) FILTER (WHERE ok)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, d;
INSERT INTO hops
SELECT window_start, d, COLLECT(code)
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)) GROUP BY window_start, window_end, d;
INSERT INTO cumulates
SELECT window_start, window_end, d, COLLECT(code), COLLECT(DISTINCT code)
FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY window_start, window_end, d;
INSERT INTO sessions
SELECT window_start, window_end, d, COLLECT(code), COLLECT(DISTINCT code)
FROM TABLE(SESSION(TABLE readings PARTITION BY d, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY d, window_start, window_end;
INSERT INTO of_windows
SELECT s, v FROM (SELECT window_start AS s, COLLECT(code) AS codes FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end) CROSS JOIN UNNEST(codes) AS u (v);
INSERT INTO so_far
SELECT d, ts, COLLECT(code) OVER (PARTITION BY d ORDER BY ts) FROM readings;
INSERT INTO last_three
SELECT d, ts, COLLECT(code) OVER (PARTITION BY d ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM readings;
INSERT INTO recent
SELECT d, ts, COLLECT(code) OVER (PARTITION BY d ORDER BY ts RANGE BETWEEN INTERVAL '6' SECOND PRECEDING AND CURRENT ROW) FROM readings;
CREATE VIEW states AS SELECT site, COLLECT(state) AS states, COLLECT(DISTINCT state) AS kinds, COLLECT(state) FILTER (WHERE n > 2) AS big, COUNT(*) AS c FROM devices GROUP BY site;
INSERT INTO sites SELECT * FROM states;
INSERT INTO latest_codes
SELECT ok IS TRUE, COLLECT(code) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY d ORDER BY ts DESC) AS rn FROM readings) WHERE rn = 1 GROUP BY ok IS TRUE;
INSERT INTO largest_codes
SELECT 1, COLLECT(code) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY d ORDER BY n DESC) AS rn FROM readings WHERE n IS NOT NULL) WHERE rn <= 2;
INSERT INTO group_sizes
SELECT 1, COLLECT(size) FROM (SELECT CAST(COUNT(*) AS STRING) AS size FROM devices GROUP BY site);
INSERT INTO state_counts
SELECT v, COUNT(*) FROM states CROSS JOIN UNNEST(kinds) AS u (v) GROUP BY v;
INSERT INTO joined
SELECT s.site, s.states, m.biggest FROM states AS s JOIN (SELECT site, MAX(n) AS biggest FROM devices GROUP BY site) AS m ON s.site = m.site;
INSERT INTO bags_again
SELECT id, bag, nested, many, bag IS NULL FROM bags;
INSERT INTO unpacked
SELECT id, v FROM bags CROSS JOIN UNNEST(bag) AS u (v);
INSERT INTO unpacked_or_null
SELECT id, v FROM bags LEFT JOIN UNNEST(bag) AS u (v) ON TRUE;
INSERT INTO texts
SELECT d, code, CAST(COLLECT(code) AS STRING), CAST(COLLECT(code) AS VARCHAR(4)) FROM readings WHERE code IS NOT NULL GROUP BY d, code;
