-- Everyday questions about devices: joins, IN and EXISTS, Top-N and windows, on top of each other.
CREATE TABLE readings (device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'value.json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE alarms (device_id STRING, level INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'alarms', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'value.json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE devices (device_id STRING, site STRING, threshold DOUBLE, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sites (site STRING, country STRING, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE busiest_of_site (site STRING, rn BIGINT, device_id STRING, c BIGINT, PRIMARY KEY (site, rn) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busiest_of_site', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE alarmed_per_country (country STRING, devices BIGINT, PRIMARY KEY (country) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'alarmed_per_country', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE above_threshold (device_id STRING, `value` DOUBLE, site STRING, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'above_threshold', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE alarms_per_device (device_id STRING, c BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'alarms_per_device', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE windows_with_alarms (device_id STRING, s TIMESTAMP(3), c BIGINT, lv INT) WITH ('connector' = 'kafka', 'topic' = 'windows_with_alarms', 'value.format' = 'json');
CREATE TABLE top_of_joined_windows (s TIMESTAMP(3), rn BIGINT, device_id STRING, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'top_of_joined_windows', 'value.format' = 'json');
CREATE TABLE alarms_after_readings (device_id STRING, n INT, lv INT, PRIMARY KEY (device_id, n, lv) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'alarms_after_readings', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE before_alarms (device_id STRING, avg_ DOUBLE, cnt BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'before_alarms', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE silent_per_site (site STRING, c BIGINT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'silent_per_site', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE busiest (device_id STRING, c BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busiest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE located (device_id STRING, site STRING, country STRING, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'located', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE total_of_both (device_id STRING, total BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'total_of_both', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE counts_of_both (device_id STRING, a BIGINT, b BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts_of_both', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE highest_of_site (site STRING, device_id STRING, `value` DOUBLE, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'highest_of_site', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE alarms_of_first (device_id STRING, lv INT, `value` DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'alarms_of_first', 'value.format' = 'json');
CREATE TABLE quiet_or_alarmed (k STRING, c BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'quiet_or_alarmed', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE best_of_site (site STRING, best STRING, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'best_of_site', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE countries_of_busiest (device_id STRING, c BIGINT, country STRING, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'countries_of_busiest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE highest_of_window (device_id STRING, s TIMESTAMP(3), hi DOUBLE, avg_ DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'highest_of_window', 'value.format' = 'json');
CREATE TABLE unknown_sites (site STRING, c BIGINT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'unknown_sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE three_way (device_id STRING, c BIGINT, lv INT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'three_way', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE windows_of_pairs (device_id STRING, s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'windows_of_pairs', 'value.format' = 'json');
CREATE TABLE current_per_site (site STRING, total DOUBLE, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'current_per_site', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO busiest_of_site
SELECT site, rn, device_id, c FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY site ORDER BY c DESC, device_id) AS rn FROM (SELECT d.site, r.device_id, COUNT(*) AS c FROM readings AS r JOIN devices AS d ON r.device_id = d.device_id GROUP BY d.site, r.device_id)) WHERE rn <= 3;
INSERT INTO alarmed_per_country
SELECT s.country, COUNT(DISTINCT d.device_id) FROM devices AS d JOIN sites AS s ON d.site = s.site WHERE d.device_id IN (SELECT device_id FROM alarms WHERE level > 2) GROUP BY s.country;
INSERT INTO above_threshold
SELECT l.device_id, l.`value`, d.site FROM (SELECT device_id, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM readings) WHERE rn = 1) AS l JOIN devices AS d ON l.device_id = d.device_id WHERE l.`value` > d.threshold;
INSERT INTO alarms_per_device
SELECT d.device_id, COUNT(a.level) FROM devices AS d LEFT JOIN alarms AS a ON d.device_id = a.device_id GROUP BY d.device_id;
INSERT INTO windows_with_alarms
SELECT r.device_id, r.window_start, r.c, a.lv FROM (SELECT device_id, window_start, window_end, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end) AS r JOIN (SELECT device_id, window_start, window_end, MAX(level) AS lv FROM TABLE(TUMBLE(TABLE alarms, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end) AS a ON r.device_id = a.device_id AND r.window_start = a.window_start AND r.window_end = a.window_end;
INSERT INTO top_of_joined_windows
SELECT window_start, rn, device_id, c FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY c DESC, device_id) AS rn FROM (SELECT r.device_id, r.window_start, r.window_end, COUNT(*) AS c FROM (SELECT * FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))) AS r JOIN (SELECT * FROM TABLE(TUMBLE(TABLE alarms, DESCRIPTOR(ts), INTERVAL '10' SECOND))) AS a ON r.device_id = a.device_id AND r.window_start = a.window_start AND r.window_end = a.window_end GROUP BY r.device_id, r.window_start, r.window_end)) WHERE rn <= 2;
INSERT INTO alarms_after_readings
SELECT r.device_id, r.n, a.level FROM readings AS r JOIN alarms AS a ON r.device_id = a.device_id AND a.ts BETWEEN r.ts AND r.ts + INTERVAL '10' SECOND WHERE EXISTS (SELECT 1 FROM devices AS d WHERE d.device_id = r.device_id AND d.threshold < 50);
INSERT INTO before_alarms
SELECT a.device_id, AVG(r.`value`), COUNT(DISTINCT r.sensor) FROM alarms AS a JOIN readings AS r ON a.device_id = r.device_id AND r.ts < a.ts GROUP BY a.device_id HAVING COUNT(*) > 1;
INSERT INTO silent_per_site
SELECT site, COUNT(*) FROM (SELECT d.site, d.device_id FROM devices AS d WHERE NOT EXISTS (SELECT 1 FROM readings AS r WHERE r.device_id = d.device_id)) GROUP BY site;
INSERT INTO busiest
SELECT device_id, c FROM (SELECT r.device_id, COUNT(*) AS c FROM readings AS r JOIN devices AS d ON r.device_id = d.device_id GROUP BY r.device_id) ORDER BY c DESC, device_id LIMIT 2;
INSERT INTO located
SELECT d.device_id, d.site, s.country FROM devices AS d FULL JOIN sites AS s ON d.site = s.site WHERE d.device_id IS NOT NULL;
INSERT INTO total_of_both
SELECT device_id, SUM(x) FROM (SELECT device_id, n AS x FROM readings UNION ALL SELECT device_id, level FROM alarms) GROUP BY device_id;
INSERT INTO counts_of_both
SELECT COALESCE(r.device_id, a.device_id), r.c, a.c FROM (SELECT device_id, COUNT(*) AS c FROM readings GROUP BY device_id) AS r FULL JOIN (SELECT device_id, COUNT(*) AS c FROM alarms GROUP BY device_id) AS a ON r.device_id = a.device_id;
INSERT INTO highest_of_site
SELECT site, device_id, `value` FROM (SELECT d.site, r.device_id, r.`value`, ROW_NUMBER() OVER (PARTITION BY d.site ORDER BY r.`value` DESC, r.device_id) AS rn FROM readings AS r JOIN devices AS d ON r.device_id = d.device_id) WHERE rn = 1;
INSERT INTO alarms_of_first
SELECT a.device_id, a.level, r.`value` FROM alarms AS a JOIN (SELECT device_id, `value`, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id, sensor ORDER BY ts) AS rn FROM readings) WHERE rn = 1) AS r ON a.device_id = r.device_id AND r.ts BETWEEN a.ts - INTERVAL '10' SECOND AND a.ts;
INSERT INTO quiet_or_alarmed
SELECT CASE WHEN a.level IS NULL THEN 'quiet' ELSE 'alarmed' END, COUNT(*) FROM devices AS d LEFT JOIN (SELECT device_id, MAX(level) AS level FROM alarms GROUP BY device_id) AS a ON d.device_id = a.device_id GROUP BY CASE WHEN a.level IS NULL THEN 'quiet' ELSE 'alarmed' END;
INSERT INTO best_of_site
SELECT t.site, l.device_id FROM (SELECT DISTINCT site FROM devices) AS t, LATERAL (SELECT device_id, threshold FROM devices WHERE site = t.site ORDER BY threshold DESC LIMIT 1) AS l;
INSERT INTO countries_of_busiest
SELECT x.device_id, x.c, s.country FROM (SELECT device_id, COUNT(*) AS c FROM readings GROUP BY device_id ORDER BY c DESC LIMIT 3) AS x JOIN devices AS d ON d.device_id = x.device_id JOIN sites AS s ON s.site = d.site;
INSERT INTO highest_of_window
WITH w AS (SELECT device_id, window_start, window_end, MAX(`value`) AS hi, AVG(`value`) AS av FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end), m AS (SELECT MAX(hi) AS hi, window_start, window_end FROM w GROUP BY window_start, window_end) SELECT w.device_id, w.window_start, w.hi, w.av FROM w JOIN m ON w.hi = m.hi AND w.window_start = m.window_start AND w.window_end = m.window_end;
INSERT INTO unknown_sites
SELECT site, COUNT(*) FROM devices WHERE site NOT IN (SELECT site FROM sites WHERE site IS NOT NULL) GROUP BY site;
INSERT INTO three_way
SELECT r.device_id, COUNT(*), MAX(a.level) FROM readings AS r, alarms AS a, devices AS d WHERE r.device_id = a.device_id AND a.device_id = d.device_id AND d.threshold < r.`value` GROUP BY r.device_id;
INSERT INTO windows_of_pairs
SELECT device_id, TUMBLE_START(ts, INTERVAL '10' SECOND), COUNT(*) FROM (SELECT r.device_id, r.ts FROM readings AS r JOIN alarms AS a ON r.device_id = a.device_id AND a.ts BETWEEN r.ts AND r.ts + INTERVAL '10' SECOND) GROUP BY device_id, TUMBLE(ts, INTERVAL '10' SECOND);
INSERT INTO current_per_site
SELECT d.site, SUM(l.`value`) FROM (SELECT device_id, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM readings) WHERE rn = 1) AS l JOIN devices AS d ON l.device_id = d.device_id GROUP BY d.site;
