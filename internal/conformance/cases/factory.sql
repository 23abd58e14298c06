-- What people ask about a factory in their first week: sixty-three questions, from filters to joins.
CREATE TABLE readings (device_id STRING, site STRING, sensor STRING, v DOUBLE, n INT, status STRING, radio ROW<battery INT, rssi INT, place ROW<lat DOUBLE, lon DOUBLE>>, labels MAP<STRING, STRING>, codes ARRAY<INT>, price DECIMAL(10, 2), ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'factory', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE events (device_id STRING, kind STRING, severity INT, message STRING, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'events', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE devices (device_id STRING, site STRING, model STRING, threshold DOUBLE, installed DATE, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE VIEW latest AS SELECT device_id, site, v, n, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM readings) WHERE rn = 1;
CREATE VIEW per_minute AS SELECT device_id, window_start, window_end, window_time AS t, COUNT(*) AS c, AVG(v) AS av, MIN(v) AS lo, MAX(v) AS hi FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end, window_time;
CREATE TABLE fahrenheit (device_id STRING, f DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'fahrenheit', 'format' = 'json');
CREATE TABLE weak_radio (device_id STRING, rssi INT, label STRING) WITH ('connector' = 'kafka', 'topic' = 'weak_radio', 'format' = 'json');
CREATE TABLE renamed (name STRING, site STRING, k STRING) WITH ('connector' = 'kafka', 'topic' = 'renamed', 'format' = 'json');
CREATE TABLE labelled (device_id STRING, line STRING, has BOOLEAN, c INT) WITH ('connector' = 'kafka', 'topic' = 'labelled', 'format' = 'json');
CREATE TABLE code_of (device_id STRING, first_ INT, c INT, known BOOLEAN, texts STRING) WITH ('connector' = 'kafka', 'topic' = 'code_of', 'format' = 'json');
CREATE TABLE times (device_id STRING, h BIGINT, d STRING, epoch BIGINT, quarter_ BIGINT) WITH ('connector' = 'kafka', 'topic' = 'times', 'format' = 'json');
CREATE TABLE rounded (device_id STRING, r DOUBLE, f DOUBLE, c DOUBLE, p DECIMAL(10, 1), s INT) WITH ('connector' = 'kafka', 'topic' = 'rounded', 'format' = 'json');
CREATE TABLE gross (device_id STRING, gross DECIMAL(14, 4), whole DECIMAL(10, 0), ratio DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'gross', 'format' = 'json');
CREATE TABLE parsed (device_id STRING, code INT, tail STRING) WITH ('connector' = 'kafka', 'topic' = 'parsed', 'format' = 'json');
CREATE TABLE split_messages (device_id STRING, a STRING, b STRING, l INT) WITH ('connector' = 'kafka', 'topic' = 'split_messages', 'format' = 'json');
CREATE TABLE ids (device_id STRING, h STRING, b STRING) WITH ('connector' = 'kafka', 'topic' = 'ids', 'format' = 'json');
CREATE TABLE documents (device_id STRING, doc STRING) WITH ('connector' = 'kafka', 'topic' = 'documents', 'format' = 'json');
CREATE TABLE all_codes (device_id STRING, code INT, n INT) WITH ('connector' = 'kafka', 'topic' = 'all_codes', 'format' = 'json');
CREATE TABLE all_labels (device_id STRING, k STRING, l STRING) WITH ('connector' = 'kafka', 'topic' = 'all_labels', 'format' = 'json');
CREATE TABLE with_default (device_id STRING, s STRING, b INT, g STRING) WITH ('connector' = 'kafka', 'topic' = 'with_default', 'format' = 'json');
CREATE TABLE in_lists (device_id STRING, sensor STRING) WITH ('connector' = 'kafka', 'topic' = 'in_lists', 'format' = 'json');
CREATE TABLE counts (device_id STRING, c BIGINT, cv BIGINT, ds BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE totals (site STRING, total INT, lo DOUBLE, hi DOUBLE, mean DOUBLE, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'totals', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE prices (site STRING, total DECIMAL(38, 2), mean DECIMAL(38, 6), PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'prices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE by_sensor (device_id STRING, temp DOUBLE, hum DOUBLE, vib DOUBLE, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'by_sensor', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE share (device_id STRING, part DOUBLE, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'share', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE noisy (device_id STRING, c BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'noisy', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE by_hour (h TIMESTAMP(3), sensor STRING, c BIGINT, PRIMARY KEY (h, sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'by_hour', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE histogram (bucket INT, c BIGINT, PRIMARY KEY (bucket) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'histogram', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE overall (k INT, c BIGINT, devices BIGINT, hi INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'overall', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE spread (device_id STRING, sd DOUBLE, va DOUBLE, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'spread', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE busy_counts (c BIGINT, devices BIGINT, PRIMARY KEY (c) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busy_counts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sites_and_all (site STRING, sensor STRING, c BIGINT, PRIMARY KEY (site, sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sites_and_all', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE rolled_up (site STRING, sensor STRING, g BIGINT, c BIGINT, total INT, PRIMARY KEY (site, sensor, g) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'rolled_up', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE cube_of_latest (site STRING, high BOOLEAN, g BIGINT, c BIGINT, PRIMARY KEY (site, high, g) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'cube_of_latest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE either (a STRING, b STRING, PRIMARY KEY (a, b) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'either', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE distinct_pairs (device_id STRING, site STRING, PRIMARY KEY (device_id, site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'distinct_pairs', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE worst (device_id STRING, worst INT, msgs BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'worst', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE minutes (device_id STRING, s TIMESTAMP(3), c BIGINT, av DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'minutes', 'format' = 'json');
CREATE TABLE sliding (site STRING, s TIMESTAMP(3), e TIMESTAMP(3), hi DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'sliding', 'format' = 'json');
CREATE TABLE so_far (e TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'so_far', 'format' = 'json');
CREATE TABLE sessions (device_id STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'sessions', 'format' = 'json');
CREATE TABLE old_style (device_id STRING, s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'old_style', 'format' = 'json');
CREATE TABLE filtered_windows (s TIMESTAMP(3), hot BIGINT, all_ BIGINT, devices BIGINT) WITH ('connector' = 'kafka', 'topic' = 'filtered_windows', 'format' = 'json');
CREATE TABLE top_windows (s TIMESTAMP(3), rn BIGINT, device_id STRING, total INT) WITH ('connector' = 'kafka', 'topic' = 'top_windows', 'format' = 'json');
CREATE TABLE jumps (device_id STRING, s TIMESTAMP(3), span DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'jumps', 'format' = 'json');
CREATE TABLE hours_of_minutes (s TIMESTAMP(3), c BIGINT, hi DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'hours_of_minutes', 'format' = 'json');
CREATE TABLE window_rollup (s TIMESTAMP(3), site STRING, sensor STRING, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'window_rollup', 'format' = 'json');
CREATE TABLE window_codes (s TIMESTAMP(3), code INT, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'window_codes', 'format' = 'json');
CREATE TABLE open_times (kind STRING, s TIMESTAMP(3), c BIGINT, worst INT) WITH ('connector' = 'kafka', 'topic' = 'open_times', 'format' = 'json');
CREATE TABLE deltas (device_id STRING, ts TIMESTAMP_LTZ(3), d INT) WITH ('connector' = 'kafka', 'topic' = 'deltas', 'format' = 'json');
CREATE TABLE moving (device_id STRING, ts TIMESTAMP_LTZ(3), m DOUBLE, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'moving', 'format' = 'json');
CREATE TABLE running_total (device_id STRING, ts TIMESTAMP_LTZ(3), total DECIMAL(38, 2)) WITH ('connector' = 'kafka', 'topic' = 'running_total', 'format' = 'json');
CREATE TABLE changed (device_id STRING, ts TIMESTAMP_LTZ(3), before_ STRING, now_ STRING) WITH ('connector' = 'kafka', 'topic' = 'changed', 'format' = 'json');
CREATE TABLE last_values (device_id STRING, v DOUBLE, ts TIMESTAMP_LTZ(3), PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'last_values', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE first_events (device_id STRING, kind STRING, message STRING) WITH ('connector' = 'kafka', 'topic' = 'first_events', 'format' = 'json');
CREATE TABLE top_three (site STRING, rn BIGINT, device_id STRING, n INT, PRIMARY KEY (site, rn) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'top_three', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE site_now (site STRING, total INT, devices BIGINT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'site_now', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE located (device_id STRING, model STRING, c BIGINT, PRIMARY KEY (device_id, model) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'located', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE silent (device_id STRING, model STRING, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'silent', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE explained (device_id STRING, message STRING, n INT, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'explained', 'format' = 'json');
CREATE TABLE unanswered (device_id STRING, message STRING) WITH ('connector' = 'kafka', 'topic' = 'unanswered', 'format' = 'json');
CREATE TABLE known_only (device_id STRING, c BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'known_only', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE never_failed (device_id STRING, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'never_failed', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE both_in_window (device_id STRING, s TIMESTAMP(3), c BIGINT, ev BIGINT) WITH ('connector' = 'kafka', 'topic' = 'both_in_window', 'format' = 'json');
CREATE TABLE above_average (device_id STRING, c BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'above_average', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE everything (device_id STRING, what STRING, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'everything', 'format' = 'json');
CREATE TABLE models (model STRING, devices BIGINT, newest DATE, mean DOUBLE, PRIMARY KEY (model) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'models', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO fahrenheit
SELECT device_id, v * 1.8 + 32 FROM readings WHERE sensor = 'temp' AND v IS NOT NULL;
INSERT INTO weak_radio
SELECT device_id, radio.rssi, CASE WHEN radio.rssi < -80 THEN 'bad' WHEN radio.rssi < -60 THEN 'fair' ELSE 'good' END FROM readings WHERE radio.battery BETWEEN 10 AND 60;
INSERT INTO renamed
SELECT UPPER(device_id) || '/' || COALESCE(site, '?'), INITCAP(site), REPLACE(sensor, 'temp', 'temperature') FROM readings WHERE status LIKE 'o%';
INSERT INTO labelled
SELECT device_id, labels['line'], labels['shift'] IS NOT NULL, CARDINALITY(labels) FROM readings;
INSERT INTO code_of
SELECT device_id, codes[1], CARDINALITY(codes), ARRAY_CONTAINS(codes, 3), ARRAY_JOIN(CAST(codes AS ARRAY<STRING>), '-', 'x') FROM readings WHERE CARDINALITY(codes) > 0;
INSERT INTO times
SELECT device_id, EXTRACT(HOUR FROM ts), DATE_FORMAT(ts, 'yyyy/MM/dd HH:mm:ss.SSS'), UNIX_TIMESTAMP(CAST(ts AS STRING)), QUARTER(CAST(ts AS DATE)) FROM readings WHERE MOD(n, 2) = 0;
INSERT INTO rounded
SELECT device_id, ROUND(v / 3, 2), FLOOR(v), CEIL(v), CAST(ROUND(price, 1) AS DECIMAL(10, 1)), SIGN(n - 20) FROM readings;
INSERT INTO gross
SELECT device_id, price * 1.19, TRUNCATE(price), CAST(price AS DOUBLE) / NULLIF(n, 0) FROM readings WHERE price > 500;
INSERT INTO parsed
SELECT device_id, TRY_CAST(REGEXP_EXTRACT(message, 'E([0-9]+)', 1) AS INT), SUBSTRING(message FROM 5) FROM events;
INSERT INTO split_messages
SELECT device_id, SPLIT_INDEX(message, ' ', 0), SPLIT_INDEX(message, ' ', 1), CHAR_LENGTH(message) FROM events WHERE message NOT LIKE '%ok%';
INSERT INTO ids
SELECT device_id, MD5(device_id), TO_BASE64(device_id) FROM events WHERE severity > 2;
INSERT INTO documents
SELECT device_id, JSON_OBJECT(KEY 'kind' VALUE kind, KEY 'severity' VALUE severity, KEY 'message' VALUE message NULL ON NULL) FROM events;
INSERT INTO all_codes
SELECT device_id, code, n FROM readings CROSS JOIN UNNEST(codes) AS u (code) WHERE n > 10;
INSERT INTO all_labels
SELECT device_id, k, l FROM readings CROSS JOIN UNNEST(labels) AS u (k, l);
INSERT INTO with_default
SELECT device_id, IFNULL(site, 'unknown'), COALESCE(radio.battery, -1), GREATEST(device_id, sensor, COALESCE(site, '')) FROM readings WHERE status IS DISTINCT FROM 'ok';
INSERT INTO in_lists
SELECT device_id, sensor FROM readings WHERE sensor IN ('temp', 'hum') AND site NOT IN ('north') AND n NOT BETWEEN 20 AND 40;
INSERT INTO counts
SELECT device_id, COUNT(*), COUNT(v), COUNT(DISTINCT sensor) FROM readings GROUP BY device_id;
INSERT INTO totals
SELECT COALESCE(site, '?'), SUM(n), MIN(v), MAX(v), AVG(v) FROM readings GROUP BY COALESCE(site, '?');
INSERT INTO prices
SELECT COALESCE(site, '?'), SUM(price), AVG(price) FROM readings GROUP BY COALESCE(site, '?');
INSERT INTO by_sensor
SELECT device_id, MAX(v) FILTER (WHERE sensor = 'temp'), MAX(v) FILTER (WHERE sensor = 'hum'), MAX(CASE WHEN sensor = 'vib' THEN v END) FROM readings GROUP BY device_id;
INSERT INTO share
SELECT device_id, CAST(COUNT(*) FILTER (WHERE status = 'ok') AS DOUBLE) / COUNT(*) FROM readings GROUP BY device_id;
INSERT INTO noisy
SELECT device_id, COUNT(*) FROM events WHERE severity >= 2 GROUP BY device_id HAVING COUNT(*) > 2;
INSERT INTO by_hour
SELECT FLOOR(CAST(ts AS TIMESTAMP(3)) TO MINUTE), sensor, COUNT(*) FROM readings GROUP BY FLOOR(CAST(ts AS TIMESTAMP(3)) TO MINUTE), sensor;
INSERT INTO histogram
SELECT CAST(FLOOR(v / 10) AS INT), COUNT(*) FROM readings WHERE v IS NOT NULL GROUP BY CAST(FLOOR(v / 10) AS INT);
INSERT INTO overall
SELECT 1, COUNT(*), COUNT(DISTINCT device_id), MAX(n) FROM readings;
INSERT INTO spread
SELECT device_id, STDDEV_POP(v), VAR_SAMP(v) FROM readings WHERE sensor = 'temp' GROUP BY device_id;
INSERT INTO busy_counts
SELECT c, COUNT(*) FROM (SELECT device_id, COUNT(*) AS c FROM readings GROUP BY device_id) GROUP BY c;
INSERT INTO sites_and_all
SELECT COALESCE(site, 'all'), COALESCE(sensor, 'all'), COUNT(*) FROM readings WHERE site IS NOT NULL GROUP BY GROUPING SETS ((site, sensor), (site), ());
INSERT INTO rolled_up
SELECT COALESCE(site, '-'), COALESCE(sensor, '-'), GROUPING(site, sensor), COUNT(*), SUM(n) FROM readings GROUP BY ROLLUP (site, sensor) HAVING COUNT(*) > 5;
INSERT INTO cube_of_latest
SELECT COALESCE(site, '-'), COALESCE(n > 30, FALSE), GROUPING_ID(site, n > 30), COUNT(*) FROM latest GROUP BY CUBE (site, n > 30);
INSERT INTO either
SELECT COALESCE(site, '-'), COALESCE(status, '-') FROM readings GROUP BY GROUPING SETS ((site), (status));
INSERT INTO distinct_pairs
SELECT DISTINCT device_id, COALESCE(site, '-') FROM readings;
INSERT INTO worst
SELECT device_id, MAX(severity), COUNT(DISTINCT message) FILTER (WHERE kind = 'error') FROM events GROUP BY device_id;
INSERT INTO minutes
SELECT device_id, window_start, c, av FROM per_minute;
INSERT INTO sliding
SELECT site, window_start, window_end, MAX(v) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '15' SECOND, INTERVAL '45' SECOND)) GROUP BY site, window_start, window_end;
INSERT INTO so_far
SELECT window_end, COUNT(*), SUM(n) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO sessions
SELECT device_id, window_start, window_end, COUNT(*) FROM TABLE(SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '12' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO old_style
SELECT device_id, TUMBLE_START(ts, INTERVAL '30' SECOND), COUNT(*) FROM readings GROUP BY device_id, TUMBLE(ts, INTERVAL '30' SECOND);
INSERT INTO filtered_windows
SELECT window_start, COUNT(*) FILTER (WHERE v > 50), COUNT(*), COUNT(DISTINCT device_id) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end;
INSERT INTO top_windows
SELECT window_start, rn, device_id, total FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY total DESC, device_id) AS rn FROM (SELECT device_id, window_start, window_end, SUM(n) AS total FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY device_id, window_start, window_end)) WHERE rn <= 2;
INSERT INTO jumps
SELECT device_id, window_start, hi - lo FROM per_minute WHERE hi - lo > 60;
INSERT INTO hours_of_minutes
SELECT window_start, SUM(c), MAX(hi) FROM TABLE(TUMBLE((SELECT device_id, t, c, hi FROM per_minute), DESCRIPTOR(t), INTERVAL '3' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO window_rollup
SELECT window_start, site, sensor, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end, ROLLUP (site, sensor);
INSERT INTO window_codes
SELECT window_start, code, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) CROSS JOIN UNNEST(codes) AS u (code) GROUP BY window_start, window_end, code;
INSERT INTO open_times
SELECT kind, window_start, COUNT(*), MAX(severity) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY kind, window_start, window_end HAVING COUNT(*) > 1;
INSERT INTO deltas
SELECT device_id, ts, n - LAG(n) OVER (PARTITION BY device_id ORDER BY ts) FROM readings;
INSERT INTO moving
SELECT device_id, ts, AVG(v) OVER w, COUNT(*) OVER w FROM readings WINDOW w AS (PARTITION BY device_id ORDER BY ts RANGE BETWEEN INTERVAL '20' SECOND PRECEDING AND CURRENT ROW);
INSERT INTO running_total
SELECT device_id, ts, SUM(price) OVER (PARTITION BY device_id ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM readings;
INSERT INTO changed
SELECT device_id, ts, p, status FROM (SELECT device_id, ts, status, LAG(status) OVER (PARTITION BY device_id ORDER BY ts) AS p FROM readings) WHERE p <> status;
INSERT INTO last_values
SELECT device_id, v, ts FROM latest;
INSERT INTO first_events
SELECT device_id, kind, message FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id, kind ORDER BY ts) AS rn FROM events) WHERE rn = 1;
INSERT INTO top_three
SELECT COALESCE(site, '?'), rn, device_id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY site ORDER BY n DESC, device_id, ts) AS rn FROM readings) WHERE rn <= 3;
INSERT INTO site_now
SELECT COALESCE(site, '?'), SUM(n), COUNT(*) FROM latest GROUP BY COALESCE(site, '?');
INSERT INTO located
SELECT r.device_id, d.model, COUNT(*) FROM readings AS r JOIN devices AS d ON r.device_id = d.device_id GROUP BY r.device_id, d.model;
INSERT INTO silent
SELECT d.device_id, d.model FROM devices AS d LEFT JOIN latest AS l ON d.device_id = l.device_id WHERE l.device_id IS NULL;
INSERT INTO explained
SELECT e.device_id, e.message, r.n, r.ts FROM events AS e JOIN readings AS r ON e.device_id = r.device_id AND r.ts BETWEEN e.ts - INTERVAL '10' SECOND AND e.ts WHERE e.severity > 1;
INSERT INTO unanswered
SELECT a.device_id, a.message FROM events AS a LEFT JOIN (SELECT * FROM events WHERE kind = 'cleared') AS b ON a.device_id = b.device_id AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '30' SECOND WHERE a.kind = 'error' AND b.device_id IS NULL;
INSERT INTO known_only
SELECT device_id, COUNT(*) FROM events WHERE device_id IN (SELECT device_id FROM devices WHERE model LIKE 'M%') GROUP BY device_id;
INSERT INTO never_failed
SELECT device_id FROM devices AS d WHERE NOT EXISTS (SELECT 1 FROM events AS e WHERE e.device_id = d.device_id AND e.kind = 'error');
INSERT INTO both_in_window
SELECT a.device_id, a.window_start, a.c, b.ev FROM per_minute AS a JOIN (SELECT device_id, window_start, window_end, COUNT(*) AS ev FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end) AS b ON a.device_id = b.device_id AND a.window_start = b.window_start AND a.window_end = b.window_end;
INSERT INTO above_average
SELECT device_id, c FROM (SELECT device_id, COUNT(*) AS c FROM readings GROUP BY device_id) WHERE c > (SELECT COUNT(*) / 8 FROM readings);
INSERT INTO everything
SELECT device_id, 'reading of ' || sensor, ts FROM readings WHERE n < 12 UNION ALL SELECT device_id, kind || ': ' || message, ts FROM events;
INSERT INTO models
SELECT model, COUNT(*), MAX(installed), AVG(threshold) FROM devices GROUP BY model;
