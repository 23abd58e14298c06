-- Joins of tables that change: chains of all kinds, conditions in ON and WHERE, aggregates and ranks before and after them, unusual keys.
SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE TABLE c (id INT, g STRING, amt DECIMAL(8, 2), code CHAR(3), b BYTES, r ROW<x INT, y STRING>, tags ARRAY<STRING>, since TIMESTAMP(3), PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'c', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE s (code VARCHAR(5), amt DECIMAL(12, 4), b BYTES, x BIGINT, y STRING, since TIMESTAMP_LTZ(3), PRIMARY KEY (code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 's', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE m (g STRING, x INT, level INT, PRIMARY KEY (g, x) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'm', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE e (id INT, cid INT, q INT, code STRING, t TIMESTAMP(3), WATERMARK FOR t AS t - INTERVAL '20' SECOND) WITH ('connector' = 'kafka', 'topic' = 'e', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE nobody (id INT, g STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'nobody', 'key.format' = 'json', 'value.format' = 'json');
CREATE VIEW per_c AS SELECT cid, COUNT(*) AS n, SUM(q) AS q, MAX(q) AS most FROM e GROUP BY cid;
CREATE VIEW per_g AS SELECT g, COUNT(*) AS n, SUM(amt) AS amt, MIN(code) AS code FROM c GROUP BY g;
CREATE VIEW newest AS SELECT cid, id, q, code, t FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY cid ORDER BY t DESC) AS rn FROM e) WHERE rn = 1;
CREATE VIEW best AS SELECT g, id, amt FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY g ORDER BY amt DESC, id) AS rn FROM c) WHERE rn <= 2;
CREATE TABLE chain (id INT, cg STRING, n BIGINT, sy STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'chain', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE chain_mixed (id INT, g STRING, n BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'chain_mixed', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE chain_full (k STRING, a BIGINT, b BIGINT, l INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'chain_full', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE full_on (cid INT, code STRING, y STRING, PRIMARY KEY (cid, code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'full_on', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE full_where (cid INT, code STRING, y STRING, PRIMARY KEY (cid, code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'full_where', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE left_left_only (id INT, y STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'left_left_only', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE right_both_only (code STRING, n BIGINT, PRIMARY KEY (code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'right_both_only', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE bytes_ (id INT, code STRING, PRIMARY KEY (id, code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'bytes_', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE fields_ (id INT, code STRING, PRIMARY KEY (id, code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'fields_', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE clocks_ (id INT, code STRING, PRIMARY KEY (id, code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'clocks_', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE clocks_less (id INT, n BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'clocks_less', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE numbers_decimal (id INT, code STRING, PRIMARY KEY (id, code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'numbers_decimal', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE tags_ (id INT, tag STRING, n BIGINT, x BIGINT, PRIMARY KEY (id, tag) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'tags_', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE groups_ (g STRING, n BIGINT, c BIGINT, a DECIMAL(38, 2), x BIGINT, least STRING, PRIMARY KEY (g) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'groups_', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE kinds (kind STRING, n BIGINT, cs BIGINT, PRIMARY KEY (kind) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'kinds', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE after_best (g STRING, id INT, n BIGINT, y STRING, PRIMARY KEY (g, id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'after_best', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE best_after (g STRING, rn BIGINT, id INT, n BIGINT, PRIMARY KEY (g, rn) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'best_after', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE best_full (g STRING, rn BIGINT, id INT, code STRING, PRIMARY KEY (g, rn) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'best_full', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE newest_other (cid INT, q INT, x BIGINT, PRIMARY KEY (cid) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'newest_other', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE named_two (g STRING, x INT, n BIGINT, PRIMARY KEY (g, x) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'named_two', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE united (k STRING, n BIGINT, s BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'united', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE distincts (g STRING, y STRING, PRIMARY KEY (g, y) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'distincts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE empty_left (id INT, g STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'empty_left', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE same_keys (a INT, b INT, PRIMARY KEY (a, b) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'same_keys', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE lateral_nulls (k INT, n BIGINT, g BIGINT, s INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'lateral_nulls', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE theta_full (id INT, code STRING, PRIMARY KEY (id, code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'theta_full', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE never (id INT, y STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'never', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE always (k INT, n BIGINT, c BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'always', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE twice_left (id INT, code STRING, PRIMARY KEY (id, code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'twice_left', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE rows_equal (a INT, b INT, PRIMARY KEY (a, b) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'rows_equal', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE arrays_equal (a INT, b INT, PRIMARY KEY (a, b) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'arrays_equal', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE arrays_grouped (n BIGINT, k INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'arrays_grouped', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE constant_side (id INT, known STRING, n INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'constant_side', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE constant_missing (id INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'constant_missing', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE counted_missing (id INT, n BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counted_missing', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE not_null_full (n BIGINT, k STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'not_null_full', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE where_is_not_true (id INT, y STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'where_is_not_true', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE where_case (id INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'where_case', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE where_both_sides (cid INT, code STRING, PRIMARY KEY (cid, code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'where_both_sides', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE where_left_of_full (cid INT, y STRING, PRIMARY KEY (cid) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'where_left_of_full', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE rank_of_rank (g STRING, id INT, PRIMARY KEY (g) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'rank_of_rank', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE united_outer (y STRING, n BIGINT, ids BIGINT, PRIMARY KEY (y) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'united_outer', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE no_rows (n BIGINT, least INT, k INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'no_rows', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE no_rows_having (n BIGINT, k INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'no_rows_having', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE gone (n BIGINT, s DECIMAL(38, 2), k INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'gone', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE anti_joined (id INT, n BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'anti_joined', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE deduped_group (q INT, n BIGINT, ids BIGINT, PRIMARY KEY (q) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'deduped_group', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE first_joined (id INT, g STRING, y STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'first_joined', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE max_row (g STRING, id INT, amt DECIMAL(8, 2), PRIMARY KEY (g, id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'max_row', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO chain
SELECT e.id, c.g, p.n, s.y FROM e LEFT JOIN c ON e.cid = c.id LEFT JOIN per_g AS p ON c.g = p.g LEFT JOIN s ON e.code = s.code;
INSERT INTO chain_mixed
SELECT c.id, c.g, p.n FROM c LEFT JOIN per_c AS p ON c.id = p.cid WHERE c.code IN (SELECT code FROM s WHERE x > 0) AND NOT EXISTS (SELECT 1 FROM m WHERE m.g = c.g AND m.level > 5);
INSERT INTO chain_full
SELECT COALESCE(p.g, q.g, m.g, '-'), p.n, q.n, m.level FROM per_g AS p FULL JOIN (SELECT code AS g, COUNT(*) AS n FROM e WHERE code IS NOT NULL GROUP BY code) AS q ON p.g = q.g FULL JOIN (SELECT g, MAX(level) AS level FROM m GROUP BY g) AS m ON COALESCE(p.g, q.g) = m.g;
INSERT INTO full_on
SELECT COALESCE(c.id, -1), COALESCE(s.code, '-'), s.y FROM c FULL JOIN s ON c.code = s.code AND c.amt > s.amt;
INSERT INTO full_where
SELECT COALESCE(c.id, -1), COALESCE(s.code, '-'), s.y FROM c FULL JOIN s ON c.code = s.code WHERE c.amt > s.amt OR s.amt IS NULL;
INSERT INTO left_left_only
SELECT c.id, s.y FROM c LEFT JOIN s ON c.code = s.code AND c.g = 'g1';
INSERT INTO right_both_only
SELECT s.code, COUNT(c.id) FROM c RIGHT JOIN s ON c.code = s.code AND s.x = 1 AND c.g <> 'g2' GROUP BY s.code;
INSERT INTO bytes_
SELECT c.id, s.code FROM c JOIN s ON c.b = s.b;
INSERT INTO fields_
SELECT c.id, COALESCE(s.code, '-') FROM c LEFT JOIN s ON c.r.x = s.x AND c.r.y = s.y;
INSERT INTO clocks_
SELECT c.id, s.code FROM c JOIN s ON c.since = s.since;
INSERT INTO clocks_less
SELECT c.id, COUNT(s.code) FROM c LEFT JOIN s ON c.g = s.y AND c.since < s.since GROUP BY c.id;
INSERT INTO numbers_decimal
SELECT c.id, s.code FROM c JOIN s ON c.id = s.amt;
INSERT INTO tags_
SELECT u.id, u.tag, COUNT(*), MAX(s.x) FROM (SELECT id, tag FROM c CROSS JOIN UNNEST(tags) AS t (tag)) AS u LEFT JOIN s ON u.tag = s.code WHERE u.tag IS NOT NULL GROUP BY u.id, u.tag;
INSERT INTO groups_
SELECT COALESCE(c.g, '-'), COUNT(*), COUNT(c.id), SUM(c.amt), SUM(s.x), MIN(s.code) FROM c FULL JOIN s ON c.code = s.code GROUP BY COALESCE(c.g, '-');
INSERT INTO kinds
SELECT CASE WHEN c.id IS NULL THEN 'no c' WHEN s.code IS NULL THEN 'no s' ELSE 'both' END, COUNT(*), COUNT(c.code) FROM c FULL JOIN s ON c.code = s.code GROUP BY CASE WHEN c.id IS NULL THEN 'no c' WHEN s.code IS NULL THEN 'no s' ELSE 'both' END;
INSERT INTO after_best
SELECT b.g, b.id, p.n, s.y FROM best AS b JOIN c ON b.id = c.id LEFT JOIN per_c AS p ON b.id = p.cid LEFT JOIN s ON c.code = s.code WHERE b.g IS NOT NULL;
INSERT INTO best_after
SELECT g, rn, id, n FROM (SELECT c.g, c.id, COALESCE(p.n, 0) AS n, ROW_NUMBER() OVER (PARTITION BY c.g ORDER BY COALESCE(p.n, 0) DESC, c.id) AS rn FROM c LEFT JOIN per_c AS p ON c.id = p.cid WHERE c.g IS NOT NULL) WHERE rn <= 2;
INSERT INTO best_full
SELECT g, rn, id, code FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY g ORDER BY x DESC, code, id) AS rn FROM (SELECT COALESCE(c.g, '-') AS g, COALESCE(c.id, 0) AS id, COALESCE(s.code, '') AS code, COALESCE(s.x, -1) AS x FROM c FULL JOIN s ON c.code = s.code)) WHERE rn < 3;
INSERT INTO newest_other
SELECT n.cid, n.q, s.x FROM newest AS n JOIN s ON n.code = s.code AND n.q > s.x WHERE n.cid IS NOT NULL;
INSERT INTO named_two
SELECT COALESCE(g, '-'), COALESCE(x, -1), COUNT(*) FROM (SELECT g, x FROM (SELECT g, id AS x FROM c) AS a FULL JOIN m USING (g, x)) GROUP BY COALESCE(g, '-'), COALESCE(x, -1);
INSERT INTO united
SELECT u.k, COUNT(*), SUM(s.x) FROM (SELECT code AS k FROM c UNION ALL SELECT code FROM e) AS u LEFT JOIN s ON u.k = s.code WHERE u.k IS NOT NULL GROUP BY u.k;
INSERT INTO distincts
SELECT DISTINCT c.g, s.y FROM c JOIN s ON c.code = s.code WHERE c.g IS NOT NULL AND s.y IS NOT NULL;
INSERT INTO empty_left
SELECT c.id, n.g FROM c LEFT JOIN nobody AS n ON c.id = n.id;
INSERT INTO same_keys
SELECT a.id, b.id FROM c AS a JOIN c AS b ON a.g IS NOT DISTINCT FROM b.g AND a.id <= b.id;
INSERT INTO lateral_nulls
SELECT 1, COUNT(*), COUNT(g), SUM(id) FROM (SELECT a.g, l.id FROM (SELECT DISTINCT g FROM c) AS a, LATERAL (SELECT id, amt FROM c WHERE g = a.g ORDER BY amt DESC, id LIMIT 2) AS l);
INSERT INTO theta_full
SELECT COALESCE(c.id, -1), COALESCE(s.code, '-') FROM c FULL JOIN s ON c.amt < s.amt AND c.id <> 5;
INSERT INTO never
SELECT c.id, s.y FROM c LEFT JOIN s ON c.id = s.x AND 1 = 2;
INSERT INTO always
SELECT 1, COUNT(*), COUNT(s.x) FROM c FULL JOIN s ON TRUE;
INSERT INTO twice_left
SELECT c.id, COALESCE(s.code, '-') FROM c LEFT JOIN s ON c.code = s.code AND CHAR_LENGTH(c.code) = CHAR_LENGTH(s.code) AND c.id = s.x;
INSERT INTO rows_equal
SELECT a.id, b.id FROM c AS a JOIN c AS b ON a.r = b.r AND a.id < b.id;
INSERT INTO arrays_equal
SELECT a.id, b.id FROM c AS a JOIN c AS b ON a.tags = b.tags AND a.id <= b.id;
INSERT INTO arrays_grouped
SELECT COUNT(*), n FROM (SELECT tags, CAST(COUNT(*) AS INT) AS n, MIN(id) AS k FROM c GROUP BY tags) GROUP BY n;
INSERT INTO constant_side
SELECT c.id, COALESCE(s.known, 'no'), s.first_ FROM c LEFT JOIN (SELECT code, 'yes' AS known, 1 AS first_ FROM s) AS s ON c.code = s.code;
INSERT INTO constant_missing
SELECT c.id FROM c LEFT JOIN (SELECT code, TRUE AS known FROM s WHERE x > 0) AS s ON c.code = s.code WHERE s.known IS NULL;
INSERT INTO counted_missing
SELECT c.id, p.n FROM c LEFT JOIN per_c AS p ON c.id = p.cid WHERE p.n IS NULL OR p.n > 2;
INSERT INTO not_null_full
SELECT COUNT(*), k FROM (SELECT CASE WHEN c.id IS NOT NULL AND s.code IS NOT NULL THEN 'both' WHEN c.id IS NOT NULL THEN 'c' ELSE 's' END AS k FROM c FULL JOIN s ON c.code = s.code AND c.amt <= s.amt) GROUP BY k HAVING COUNT(*) > 1;
INSERT INTO where_is_not_true
SELECT c.id, s.y FROM c LEFT JOIN s ON c.code = s.code WHERE (s.x > 0) IS NOT TRUE;
INSERT INTO where_case
SELECT c.id FROM c LEFT JOIN s ON c.code = s.code WHERE CASE WHEN s.x IS NULL THEN c.id > 2 ELSE s.x > 0 END;
INSERT INTO where_both_sides
SELECT COALESCE(c.id, -1), COALESCE(s.code, '-') FROM c FULL JOIN s ON c.code = s.code WHERE c.g = 'g1' OR s.x < 10;
INSERT INTO where_left_of_full
SELECT c.id, s.y FROM c FULL JOIN s ON c.code = s.code WHERE c.id > 1;
INSERT INTO rank_of_rank
SELECT g, id FROM (SELECT g, id, ROW_NUMBER() OVER (PARTITION BY g ORDER BY amt, id) AS rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY g ORDER BY amt DESC, id) AS r_ FROM c WHERE g IS NOT NULL) WHERE r_ <= 2) WHERE rn = 1;
INSERT INTO united_outer
SELECT COALESCE(y, '-'), COUNT(*), COUNT(id) FROM (SELECT c.id, s.y FROM c LEFT JOIN s ON c.code = s.code UNION ALL SELECT c.id, s.y FROM c RIGHT JOIN s ON c.id = s.x) GROUP BY COALESCE(y, '-');
INSERT INTO no_rows
SELECT COUNT(*), MIN(c.id), 1 FROM c JOIN nobody AS n ON c.id = n.id;
INSERT INTO no_rows_having
SELECT COUNT(*), 1 FROM c JOIN nobody AS n ON c.id = n.id HAVING COUNT(*) = 0;
INSERT INTO gone
SELECT COUNT(*), SUM(amt), 1 FROM (SELECT c.amt FROM c FULL JOIN m ON c.g = m.g WHERE m.g = 'g2');
INSERT INTO anti_joined
SELECT c.id, p.n FROM (SELECT * FROM c WHERE NOT EXISTS (SELECT 1 FROM newest AS n WHERE n.cid = c.id AND n.q > 3)) AS c LEFT JOIN per_g AS p ON c.g = p.g;
INSERT INTO deduped_group
SELECT COALESCE(n.q, -1), COUNT(*), COUNT(DISTINCT c.g) FROM newest AS n FULL JOIN c ON n.cid = c.id GROUP BY COALESCE(n.q, -1);
INSERT INTO first_joined
SELECT f.id, c.g, s.y FROM (SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY cid ORDER BY t) AS rn FROM e) WHERE rn = 1) AS f LEFT JOIN c ON f.cid = c.id AND c.amt > 5 LEFT JOIN s ON c.code = s.code OR f.code = s.code;
INSERT INTO max_row
SELECT c.g, c.id, c.amt FROM c JOIN (SELECT g, MAX(amt) AS amt FROM c GROUP BY g) AS b ON c.g = b.g AND c.amt = b.amt;
