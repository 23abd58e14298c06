-- Joins of two streams: of equal windows, within an interval of time, and of all rows, with every kind.
CREATE TABLE measured (device STRING, v INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH (
  'connector' = 'kafka', 'topic' = 'measured', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE planned (device STRING, target INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH (
  'connector' = 'kafka', 'topic' = 'planned', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE devices (device STRING, site STRING, limit_ INT, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sites (site STRING, country STRING, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE VIEW m10 AS SELECT * FROM TABLE(TUMBLE(TABLE measured, DESCRIPTOR(ts), INTERVAL '10' SECOND));
CREATE VIEW p10 AS SELECT * FROM TABLE(TUMBLE(TABLE planned, DESCRIPTOR(ts), INTERVAL '10' SECOND));
CREATE VIEW near AS SELECT m.ts, p.target FROM measured AS m JOIN planned AS p ON m.device = p.device AND m.ts BETWEEN p.ts - INTERVAL '3' SECOND AND p.ts + INTERVAL '3' SECOND;
CREATE TABLE window_inner (device STRING, v INT, target INT, w STRING) WITH ('connector' = 'kafka', 'topic' = 'window_inner', 'value.format' = 'json');
CREATE TABLE window_left (device STRING, v INT, target INT, w STRING) WITH ('connector' = 'kafka', 'topic' = 'window_left', 'value.format' = 'json');
CREATE TABLE window_right (device STRING, v INT, target INT, w STRING) WITH ('connector' = 'kafka', 'topic' = 'window_right', 'value.format' = 'json');
CREATE TABLE window_full (device STRING, v INT, target INT, w STRING) WITH ('connector' = 'kafka', 'topic' = 'window_full', 'value.format' = 'json');
CREATE TABLE window_condition (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'window_condition', 'value.format' = 'json');
CREATE TABLE window_hop (device STRING, v INT, target INT, w STRING) WITH ('connector' = 'kafka', 'topic' = 'window_hop', 'value.format' = 'json');
CREATE TABLE window_cumulate (device STRING, v INT, target INT, w STRING) WITH ('connector' = 'kafka', 'topic' = 'window_cumulate', 'value.format' = 'json');
CREATE TABLE window_grouped (device STRING, s INT, n BIGINT, w STRING) WITH ('connector' = 'kafka', 'topic' = 'window_grouped', 'value.format' = 'json');
CREATE TABLE window_then_group (w STRING, n BIGINT, s INT) WITH ('connector' = 'kafka', 'topic' = 'window_then_group', 'value.format' = 'json');
CREATE TABLE interval_inner (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'interval_inner', 'value.format' = 'json');
CREATE TABLE interval_left (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'interval_left', 'value.format' = 'json');
CREATE TABLE interval_right (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'interval_right', 'value.format' = 'json');
CREATE TABLE interval_full (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'interval_full', 'value.format' = 'json');
CREATE TABLE interval_strict (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'interval_strict', 'value.format' = 'json');
CREATE TABLE interval_equal (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'interval_equal', 'value.format' = 'json');
CREATE TABLE interval_self (device STRING, v INT, next_ INT) WITH ('connector' = 'kafka', 'topic' = 'interval_self', 'value.format' = 'json');
CREATE TABLE interval_group (w STRING, n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'interval_group', 'value.format' = 'json');
CREATE TABLE all_inner (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'all_inner', 'value.format' = 'json');
CREATE TABLE all_comma (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'all_comma', 'value.format' = 'json');
CREATE TABLE all_condition (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'all_condition', 'value.format' = 'json');
CREATE TABLE all_cross (v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'all_cross', 'value.format' = 'json');
CREATE TABLE all_expression (device STRING, v INT, target INT) WITH ('connector' = 'kafka', 'topic' = 'all_expression', 'value.format' = 'json');
CREATE TABLE sums_left (device STRING, c BIGINT, target INT, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sums_left', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sums_full (device STRING, c BIGINT, target INT, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sums_full', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE located (device STRING, country STRING, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'located', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE located_left (device STRING, country STRING, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'located_left', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE per_country (country STRING, n BIGINT, PRIMARY KEY (country) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'per_country', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE readings_of (device STRING, v INT, site STRING, PRIMARY KEY (device, v) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'readings_of', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE silent (device STRING, site STRING, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'silent', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE three_ways (device STRING, v INT, target INT, site STRING, PRIMARY KEY (device, v, target) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'three_ways', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO window_inner
SELECT m.device, m.v, p.target, CAST(m.window_end AS STRING) FROM m10 AS m JOIN p10 AS p ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO window_left
SELECT m.device, m.v, p.target, CAST(m.window_end AS STRING) FROM m10 AS m LEFT JOIN p10 AS p ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO window_right
SELECT p.device, m.v, p.target, CAST(p.window_end AS STRING) FROM m10 AS m RIGHT JOIN p10 AS p ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO window_full
SELECT COALESCE(m.device, p.device), m.v, p.target, CAST(COALESCE(m.window_end, p.window_end) AS STRING) FROM m10 AS m FULL JOIN p10 AS p ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO window_condition
SELECT m.device, m.v, p.target FROM m10 AS m LEFT JOIN p10 AS p ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end AND m.v > p.target WHERE m.v <> 7;
INSERT INTO window_hop
SELECT m.device, m.v, p.target, CAST(m.window_end AS STRING)
FROM (SELECT * FROM TABLE(HOP(TABLE measured, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))) AS m
JOIN (SELECT * FROM TABLE(HOP(TABLE planned, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))) AS p
ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO window_cumulate
SELECT m.device, m.v, p.target, CAST(m.window_end AS STRING)
FROM (SELECT * FROM TABLE(CUMULATE(TABLE measured, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND))) AS m
JOIN (SELECT * FROM TABLE(CUMULATE(TABLE planned, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND))) AS p
ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO window_grouped
SELECT m.device, m.s, p.n, CAST(m.window_end AS STRING)
FROM (SELECT device, SUM(v) AS s, window_start, window_end FROM m10 GROUP BY device, window_start, window_end) AS m
LEFT JOIN (SELECT device, COUNT(*) AS n, window_start, window_end FROM p10 GROUP BY device, window_start, window_end) AS p
ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO window_then_group
SELECT CAST(window_end AS STRING), COUNT(*), SUM(v) FROM (
  SELECT m.window_start, m.window_end, m.v FROM m10 AS m JOIN p10 AS p ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end)
GROUP BY window_start, window_end;
INSERT INTO interval_inner
SELECT m.device, m.v, p.target FROM measured AS m JOIN planned AS p ON m.device = p.device AND m.ts BETWEEN p.ts AND p.ts + INTERVAL '5' SECOND;
INSERT INTO interval_left
SELECT m.device, m.v, p.target FROM measured AS m LEFT JOIN planned AS p ON m.device = p.device AND m.ts BETWEEN p.ts - INTERVAL '1' SECOND AND p.ts + INTERVAL '5' SECOND AND p.target < 5;
INSERT INTO interval_right
SELECT p.device, m.v, p.target FROM measured AS m RIGHT JOIN planned AS p ON m.device = p.device AND m.ts BETWEEN p.ts - INTERVAL '1' SECOND AND p.ts + INTERVAL '5' SECOND;
INSERT INTO interval_full
SELECT COALESCE(m.device, p.device), m.v, p.target FROM measured AS m FULL JOIN planned AS p ON m.device = p.device AND p.ts >= m.ts - INTERVAL '2' SECOND AND p.ts <= m.ts + INTERVAL '2' SECOND;
INSERT INTO interval_strict
SELECT m.device, m.v, p.target FROM measured AS m, planned AS p WHERE m.device = p.device AND m.ts > p.ts - INTERVAL '2' SECOND AND m.ts < p.ts + INTERVAL '5' SECOND AND m.v > 1;
INSERT INTO interval_equal
SELECT m.device, m.v, p.target FROM measured AS m JOIN planned AS p ON m.device = p.device AND m.ts = p.ts;
INSERT INTO interval_self
SELECT a.device, a.v, b.v FROM measured AS a JOIN measured AS b ON a.device = b.device AND b.ts > a.ts AND b.ts <= a.ts + INTERVAL '3' SECOND;
INSERT INTO interval_group
SELECT CAST(window_end AS STRING), COUNT(*) FROM TABLE(TUMBLE(TABLE near, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
INSERT INTO all_inner
SELECT m.device, m.v, p.target FROM measured AS m JOIN planned AS p ON m.device = p.device;
INSERT INTO all_comma
SELECT m.device, m.v, p.target FROM measured AS m, planned AS p WHERE p.device = m.device AND m.v > 2 AND p.target < 9;
INSERT INTO all_condition
SELECT m.device, m.v, p.target FROM measured AS m JOIN planned AS p ON m.device = p.device AND m.v + p.target > 5 AND m.v <> p.target;
INSERT INTO all_cross
SELECT m.v, p.target FROM measured AS m CROSS JOIN planned AS p WHERE m.v < 3;
INSERT INTO all_expression
SELECT m.device, m.v, p.target FROM measured AS m JOIN planned AS p ON m.v + 1 = p.target AND UPPER(m.device) = UPPER(p.device);
INSERT INTO sums_left
SELECT m.device, m.c, p.target FROM (SELECT device, COUNT(*) AS c FROM measured GROUP BY device) AS m LEFT JOIN (SELECT device, MAX(target) AS target FROM planned GROUP BY device) AS p ON m.device = p.device WHERE m.device IS NOT NULL;
INSERT INTO sums_full
SELECT COALESCE(m.device, p.device, '?'), m.c, p.target FROM (SELECT device, COUNT(*) AS c FROM measured WHERE device IS NOT NULL GROUP BY device) AS m FULL JOIN (SELECT device, MAX(target) AS target FROM planned WHERE device IS NOT NULL GROUP BY device) AS p ON m.device = p.device;
INSERT INTO located
SELECT d.device, s.country FROM devices AS d JOIN sites AS s ON d.site = s.site;
INSERT INTO located_left
SELECT d.device, s.country FROM devices AS d LEFT JOIN sites AS s ON d.site = s.site;
INSERT INTO per_country
SELECT s.country, COUNT(*) FROM devices AS d JOIN sites AS s ON d.site = s.site GROUP BY s.country;
INSERT INTO readings_of
SELECT m.device, m.v, d.site FROM measured AS m LEFT JOIN devices AS d ON m.device = d.device WHERE m.device IS NOT NULL;
INSERT INTO silent
SELECT d.device, d.site FROM devices AS d LEFT JOIN (SELECT DISTINCT device FROM measured) AS m ON d.device = m.device WHERE m.device IS NULL;
INSERT INTO three_ways
SELECT m.device, m.v, p.target, d.site FROM measured AS m JOIN planned AS p ON m.device = p.device LEFT JOIN devices AS d ON d.device = m.device;
