-- Queries of all kinds over four partitions, on the night when clocks in New York go back.
SET 'table.local-time-zone' = 'America/New_York';
CREATE TABLE meters (id STRING, site VARCHAR(4), kind CHAR(3), qty INT, price DECIMAL(10, 3), load DOUBLE, flag BOOLEAN, tags ARRAY<STRING>, attrs MAP<STRING, INT>, inner_ ROW<a INT, b STRING>, doc STRING, plain TIMESTAMP(3), ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '3' SECOND) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'meters', 'scan.startup.mode' = 'earliest-offset', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW per_site AS SELECT site, window_time AS t, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE meters, DESCRIPTOR(ts), INTERVAL '10' MINUTE)) GROUP BY site, window_start, window_end, window_time;
CREATE TABLE day_windows (s TIMESTAMP(3), e TIMESTAMP(3), site STRING, c BIGINT, p DECIMAL(38, 3)) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'day_windows');
CREATE TABLE half_hours (s TIMESTAMP(3), t TIMESTAMP_LTZ(3), kind STRING, c BIGINT, lo TIMESTAMP(3), hi TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'half_hours');
CREATE TABLE hops (s TIMESTAMP(3), flag BOOLEAN, c BIGINT, a DECIMAL(38, 6)) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'hops');
CREATE TABLE steps (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, d BIGINT) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'steps');
CREATE TABLE sittings (site STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, m INT) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'sittings');
CREATE TABLE by_site (site STRING, c BIGINT, s DECIMAL(38, 3), a DECIMAL(38, 6), lo TIMESTAMP(3), hi STRING, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'by_site');
CREATE TABLE by_flag_kind (flag BOOLEAN, kind CHAR(3), c BIGINT, n BIGINT, v INT, PRIMARY KEY (flag, kind) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'by_flag_kind');
CREATE TABLE counts_of_counts (c BIGINT, n BIGINT, PRIMARY KEY (c) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'counts_of_counts');
CREATE TABLE largest_sum (site STRING, m INT, l INT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'largest_sum');
CREATE TABLE sum_of_sums (k INT, s DECIMAL(38, 3), PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'sum_of_sums');
CREATE TABLE newest_ (id STRING, qty INT, ts TIMESTAMP_LTZ(3), PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'newest_');
CREATE TABLE highest_two (site STRING, n BIGINT, id STRING, qty INT, PRIMARY KEY (site, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'highest_two');
CREATE TABLE run_sums (id STRING, ts TIMESTAMP_LTZ(3), s INT, c BIGINT, m DECIMAL(10, 3)) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'run_sums');
CREATE TABLE ranged (site STRING, ts TIMESTAMP_LTZ(3), c BIGINT) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'ranged');
CREATE TABLE lagged (id STRING, ts TIMESTAMP_LTZ(3), p TIMESTAMP(3), q VARCHAR(4)) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'lagged');
CREATE TABLE texts_ (a VARCHAR(2), b CHAR(6), c STRING, d STRING, e INT) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'texts_');
CREATE TABLE cut_union (t STRING, n INT) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'cut_union');
CREATE TABLE char_union (t STRING) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'char_union');
CREATE TABLE decimals_ (a DECIMAL(4, 1), b DECIMAL(38, 6), c DECIMAL(20, 2), d DECIMAL(10, 3), e STRING, f DECIMAL(38, 10)) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'decimals_');
CREATE TABLE nulls_ (a INT, b STRING, c INT, d BOOLEAN, e BOOLEAN, f DOUBLE) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'nulls_');
CREATE TABLE arrays_ (a INT, b STRING, c BOOLEAN, d STRING, e ARRAY<STRING>, f ARRAY<STRING>) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'arrays_');
CREATE TABLE unnested_ (id STRING, tag STRING) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'unnested_');
CREATE TABLE tag_counts (tag STRING, c BIGINT, s INT, PRIMARY KEY (tag) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'tag_counts');
CREATE TABLE maps_ (a INT, b INT, c ARRAY<STRING>, d MAP<STRING, INT>, e BOOLEAN) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'maps_');
CREATE TABLE fields_ (a INT, b STRING, r ROW<a INT, b STRING>, t STRING) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'fields_');
CREATE TABLE json_values (a STRING, b STRING, c BOOLEAN, d STRING, e STRING) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'json_values');
CREATE TABLE json_made (a STRING, b STRING, c STRING) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'json_made');
CREATE TABLE sets_ (s TIMESTAMP(3), site STRING, kind STRING, c BIGINT) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'sets_');
CREATE TABLE pairs_ (site STRING, kind STRING, PRIMARY KEY (site, kind) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'pairs_');
CREATE TABLE clocks_ (a STRING, h BIGINT, d DATE, m TIMESTAMP_LTZ(3), t STRING) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'clocks_');
CREATE TABLE differences_ (a INT, b TIMESTAMP(3), c TIMESTAMP_LTZ(3), d INT, e BOOLEAN) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'differences_');
CREATE TABLE implicit_ (i TIMESTAMP_LTZ(3), w TIMESTAMP(3)) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'implicit_');
CREATE TABLE by_local_hour (h TIMESTAMP(3), c BIGINT, PRIMARY KEY (h) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'by_local_hour');
CREATE TABLE by_local_day (d DATE, c BIGINT, n BIGINT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'by_local_day');
CREATE TABLE by_instant (i TIMESTAMP_LTZ(3), c BIGINT, PRIMARY KEY (i) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'by_instant');
CREATE TABLE busy (id STRING, c BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json', 'topic' = 'busy');
CREATE TABLE window_best (s TIMESTAMP(3), n BIGINT, id STRING, p DECIMAL(10, 3)) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'window_best');
CREATE TABLE window_first (s TIMESTAMP(3), site STRING, id STRING, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'window_first');
CREATE TABLE window_of_windows (s TIMESTAMP(3), m BIGINT, c BIGINT) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'window_of_windows');
CREATE TABLE matched_ (a BOOLEAN, b BOOLEAN, c BOOLEAN, d STRING, e STRING, f STRING) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'matched_');
CREATE TABLE padded (a STRING, b STRING, c STRING, d STRING, e STRING) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'padded');
CREATE TABLE numbers_ (a DOUBLE, b BIGINT, c DOUBLE, d INT, e STRING, f DOUBLE) WITH ('connector' = 'kafka', 'format' = 'json', 'topic' = 'numbers_');
INSERT INTO day_windows
SELECT window_start, window_end, site, COUNT(*), SUM(price) FROM TABLE(TUMBLE(TABLE meters, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end, site;
INSERT INTO half_hours
SELECT window_start, window_time, kind, COUNT(plain), MIN(plain), MAX(ts) FROM TABLE(TUMBLE(TABLE meters, DESCRIPTOR(ts), INTERVAL '30' MINUTE)) GROUP BY window_start, window_end, window_time, kind;
INSERT INTO hops
SELECT window_start, flag, COUNT(*), AVG(price) FROM TABLE(HOP(TABLE meters, DESCRIPTOR(ts), INTERVAL '20' MINUTE, INTERVAL '1' HOUR)) GROUP BY window_start, window_end, flag;
INSERT INTO steps
SELECT window_start, window_end, COUNT(DISTINCT id), COUNT(DISTINCT site) FILTER (WHERE qty > 10) FROM TABLE(CUMULATE(TABLE meters, DESCRIPTOR(ts), INTERVAL '15' MINUTE, INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
INSERT INTO sittings
SELECT site, window_start, window_end, COUNT(*), MAX(qty) FROM TABLE(SESSION(TABLE meters PARTITION BY site, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY site, window_start, window_end;
INSERT INTO by_site
SELECT site, COUNT(*), SUM(price), AVG(price), MIN(plain), MAX(doc) FROM meters WHERE site IS NOT NULL GROUP BY site;
INSERT INTO by_flag_kind
SELECT flag, kind, COUNT(*), COUNT(load), VAR_POP(qty) FROM meters WHERE flag IS NOT NULL AND kind IS NOT NULL GROUP BY flag, kind;
INSERT INTO counts_of_counts
SELECT c, COUNT(*) FROM (SELECT id, site, COUNT(*) AS c FROM meters GROUP BY id, site) GROUP BY c;
INSERT INTO largest_sum
SELECT site, MAX(s), MIN(s) FROM (SELECT site, id, SUM(qty) AS s FROM meters WHERE site IS NOT NULL GROUP BY site, id) GROUP BY site;
INSERT INTO sum_of_sums
SELECT 1, SUM(s) FROM (SELECT id, SUM(price) AS s FROM meters GROUP BY id);
INSERT INTO newest_
SELECT id, qty, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts DESC) AS n FROM meters) WHERE n = 1;
INSERT INTO highest_two
SELECT site, n, id, qty FROM (SELECT site, id, qty, ROW_NUMBER() OVER (PARTITION BY site ORDER BY qty DESC, ts, id) AS n FROM meters WHERE site IS NOT NULL) WHERE n <= 2;
INSERT INTO run_sums
SELECT id, ts, SUM(qty) OVER w, COUNT(load) OVER w, MIN(price) OVER w FROM meters WINDOW w AS (PARTITION BY id ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);
INSERT INTO ranged
SELECT site, ts, COUNT(*) OVER (PARTITION BY site ORDER BY ts RANGE BETWEEN INTERVAL '10' MINUTE PRECEDING AND CURRENT ROW) FROM meters;
INSERT INTO lagged
SELECT id, ts, LAG(plain) OVER (PARTITION BY id ORDER BY ts), LAG(site, 2) OVER (PARTITION BY id ORDER BY ts) FROM meters;
INSERT INTO texts_
SELECT site, CAST(kind AS CHAR(6)), CAST(id AS VARCHAR(3)) || '|', CAST(site AS CHAR(5)) || '|', CHAR_LENGTH(CAST(kind AS CHAR(5))) FROM meters;
INSERT INTO cut_union
SELECT CAST(id AS VARCHAR(3)), qty FROM meters UNION ALL SELECT CAST(doc AS VARCHAR(12)), qty + 1 FROM meters;
INSERT INTO char_union
SELECT CAST(site AS CHAR(2)) FROM meters UNION ALL SELECT CAST(id AS CHAR(5)) FROM meters;
INSERT INTO decimals_
SELECT CAST(price AS DECIMAL(4, 1)), price * price, ROUND(price, 1), MOD(price, 7), CAST(price * 10 AS STRING), price / 3 FROM meters WHERE price < 900;
INSERT INTO nulls_
SELECT COALESCE(qty, -1), NULLIF(site, 'n1'), CASE WHEN flag THEN 1 WHEN NOT flag THEN 0 END, flag IS NOT TRUE, load IS DISTINCT FROM 5, IFNULL(load, 0e0) + qty FROM meters;
INSERT INTO arrays_
SELECT CARDINALITY(tags), tags[1], ARRAY_CONTAINS(tags, 'hot'), ARRAY_JOIN(tags, '+', 'none'), ARRAY_DISTINCT(tags), ARRAY_APPEND(ARRAY_REVERSE(tags), id) FROM meters;
INSERT INTO unnested_
SELECT id, tag FROM meters CROSS JOIN UNNEST(tags) AS u (tag);
INSERT INTO tag_counts
SELECT tag, COUNT(*), SUM(qty) FROM meters CROSS JOIN UNNEST(tags) AS u (tag) WHERE tag IS NOT NULL GROUP BY tag;
INSERT INTO maps_
SELECT attrs['x'], CARDINALITY(attrs), ARRAY_SORT(MAP_KEYS(attrs)), attrs, attrs['y'] > attrs['x'] FROM meters;
INSERT INTO fields_
SELECT m.inner_.a + 1, UPPER(m.inner_.b), m.inner_, CAST(m.inner_ AS STRING) FROM meters AS m;
INSERT INTO json_values
SELECT JSON_VALUE(doc, '$.k'), JSON_VALUE(doc, '$.n[1]' DEFAULT 'none' ON EMPTY), JSON_EXISTS(doc, '$.n'), JSON_QUERY(doc, '$.n' WITH WRAPPER), JSON_QUERY(doc, '$.o') FROM meters;
INSERT INTO json_made
SELECT JSON_STRING(attrs), JSON_QUOTE(id), JSON_STRING(tags) FROM meters;
INSERT INTO sets_
SELECT window_start, site, kind, COUNT(*) FROM TABLE(TUMBLE(TABLE meters, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, GROUPING SETS ((site), (kind), ());
INSERT INTO pairs_
SELECT site, CAST(kind AS STRING) FROM meters WHERE qty > 20 AND site IS NOT NULL AND kind IS NOT NULL UNION SELECT site, id FROM meters WHERE flag AND site IS NOT NULL;
INSERT INTO clocks_
SELECT DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm'), EXTRACT(HOUR FROM ts), CAST(ts AS DATE), FLOOR(ts TO HOUR), CAST(ts AS STRING) FROM meters;
INSERT INTO differences_
SELECT TIMESTAMPDIFF(MINUTE, plain, CAST(ts AS TIMESTAMP(3))), plain + INTERVAL '90' MINUTE, ts - INTERVAL '1' DAY, TIMESTAMPDIFF(DAY, plain, TIMESTAMP '2026-12-24 18:00:00'), ts > plain FROM meters;
INSERT INTO implicit_
SELECT plain, ts FROM meters;
INSERT INTO by_local_hour
SELECT FLOOR(CAST(ts AS TIMESTAMP(3)) TO HOUR), COUNT(*) FROM meters GROUP BY FLOOR(CAST(ts AS TIMESTAMP(3)) TO HOUR);
INSERT INTO by_local_day
SELECT CAST(ts AS DATE), COUNT(*), COUNT(DISTINCT id) FROM meters GROUP BY CAST(ts AS DATE);
INSERT INTO by_instant
SELECT CAST(FLOOR(plain TO HOUR) AS TIMESTAMP_LTZ(3)), COUNT(*) FROM meters WHERE plain IS NOT NULL GROUP BY CAST(FLOOR(plain TO HOUR) AS TIMESTAMP_LTZ(3));
INSERT INTO busy
SELECT id, COUNT(*) FROM meters GROUP BY id HAVING COUNT(*) FILTER (WHERE flag) > 2 AND MAX(load) IS NOT NULL;
INSERT INTO window_best
SELECT window_start, n, id, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY price DESC, id) AS n FROM TABLE(TUMBLE(TABLE meters, DESCRIPTOR(ts), INTERVAL '30' MINUTE))) WHERE n <= 2;
INSERT INTO window_first
SELECT window_start, site, id, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, site ORDER BY ts) AS n FROM TABLE(TUMBLE(TABLE meters, DESCRIPTOR(ts), INTERVAL '30' MINUTE))) WHERE n = 1;
INSERT INTO window_of_windows
SELECT window_start, MAX(c), COUNT(*) FROM TABLE(TUMBLE(TABLE per_site, DESCRIPTOR(t), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
INSERT INTO matched_
SELECT id LIKE '%-_', site IN ('n1', 'süd'), site SIMILAR TO 'n[0-9]|s.*', REGEXP_EXTRACT(doc, '"k":"([a-z]+)', 1), REGEXP_REPLACE(id, '[0-9]+', '#'), SPLIT_INDEX(id, '-', 1) FROM meters;
INSERT INTO padded
SELECT LPAD(site, 6, '*'), TRIM(BOTH 'n' FROM site), OVERLAY(id PLACING 'XX' FROM 2 FOR 1), MD5(id), TO_BASE64(site) FROM meters;
INSERT INTO numbers_
SELECT load / qty, CAST(load AS BIGINT), SQRT(ABS(load)), qty % 7, CAST(load AS STRING), ROUND(load, 1) FROM meters WHERE qty <> 0;
