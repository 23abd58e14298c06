-- Joins by time: bounds on one side, in the past or in the future, further conditions, unusual keys, chains.
CREATE TABLE o (id INT, k CHAR(3), n DECIMAL(6, 2), r ROW<a INT, b STRING>, tags ARRAY<STRING>, x BYTES, t TIMESTAMP(3), WATERMARK FOR t AS t - INTERVAL '20' SECOND) WITH ('connector' = 'kafka', 'topic' = 'o', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE p (id INT, k VARCHAR(5), n DECIMAL(10, 3), r ROW<a BIGINT, c STRING>, x BYTES, t TIMESTAMP(3), WATERMARK FOR t AS t - INTERVAL '20' SECOND) WITH ('connector' = 'kafka', 'topic' = 'p', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE q (id INT, k STRING, t TIMESTAMP(3), WATERMARK FOR t AS t - INTERVAL '20' SECOND) WITH ('connector' = 'kafka', 'topic' = 'q', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE versions (k STRING, rate DECIMAL(5, 2), t TIMESTAMP(3), WATERMARK FOR t AS t - INTERVAL '20' SECOND, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'versions', 'key.format' = 'json', 'value.format' = 'json');
CREATE VIEW all_ AS SELECT id, CAST(k AS STRING) AS k, n, t FROM o UNION ALL SELECT id, k, n, t FROM p;
CREATE VIEW close_ AS SELECT o.id, p.id AS pid, o.k, o.n, o.t, p.t AS pt FROM o JOIN p ON o.k = p.k AND p.t BETWEEN o.t - INTERVAL '4' SECOND AND o.t + INTERVAL '6' SECOND;
CREATE VIEW ow AS SELECT * FROM TABLE(TUMBLE(TABLE o, DESCRIPTOR(t), INTERVAL '10' SECOND));
CREATE VIEW pw AS SELECT * FROM TABLE(TUMBLE(TABLE p, DESCRIPTOR(t), INTERVAL '10' SECOND));
CREATE VIEW counts AS SELECT k, window_start, window_end, COUNT(*) AS c, SUM(n) AS s FROM ow GROUP BY k, window_start, window_end;
CREATE TABLE one_bound (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'one_bound', 'value.format' = 'json');
CREATE TABLE one_bound_left (o INT, n BIGINT, lowest INT, PRIMARY KEY (o) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'one_bound_left', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE past_left (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'past_left', 'value.format' = 'json');
CREATE TABLE past_right (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'past_right', 'value.format' = 'json');
CREATE TABLE past_full (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'past_full', 'value.format' = 'json');
CREATE TABLE future_full (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'future_full', 'value.format' = 'json');
CREATE TABLE on_left_only (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'on_left_only', 'value.format' = 'json');
CREATE TABLE on_right_only (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'on_right_only', 'value.format' = 'json');
CREATE TABLE where_right (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'where_right', 'value.format' = 'json');
CREATE TABLE empty_interval (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'empty_interval', 'value.format' = 'json');
CREATE TABLE instant_left (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'instant_left', 'value.format' = 'json');
CREATE TABLE decimal_keys (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'decimal_keys', 'value.format' = 'json');
CREATE TABLE field_keys (o INT, p INT, c STRING) WITH ('connector' = 'kafka', 'topic' = 'field_keys', 'value.format' = 'json');
CREATE TABLE byte_keys (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'byte_keys', 'value.format' = 'json');
CREATE TABLE tag_keys (o INT, tag STRING, p INT) WITH ('connector' = 'kafka', 'topic' = 'tag_keys', 'value.format' = 'json');
CREATE TABLE three (o INT, p INT, q INT) WITH ('connector' = 'kafka', 'topic' = 'three', 'value.format' = 'json');
CREATE TABLE three_through (o INT, p INT, q INT) WITH ('connector' = 'kafka', 'topic' = 'three_through', 'value.format' = 'json');
CREATE TABLE windows_of_pairs (s TIMESTAMP(3), k STRING, n BIGINT, d BIGINT, f BIGINT) WITH ('connector' = 'kafka', 'topic' = 'windows_of_pairs', 'value.format' = 'json');
CREATE TABLE windows_of_second (s TIMESTAMP(3), e TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'windows_of_second', 'value.format' = 'json');
CREATE TABLE running_ (o INT, p INT, c BIGINT, s DECIMAL(38, 2)) WITH ('connector' = 'kafka', 'topic' = 'running_', 'value.format' = 'json');
CREATE TABLE before_ (o INT, p INT, was INT) WITH ('connector' = 'kafka', 'topic' = 'before_', 'value.format' = 'json');
CREATE TABLE firsts (o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'firsts', 'value.format' = 'json');
CREATE TABLE lasts (o INT, p INT, PRIMARY KEY (o) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'lasts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE united (a INT, b INT) WITH ('connector' = 'kafka', 'topic' = 'united', 'value.format' = 'json');
CREATE TABLE united_self (a INT, b INT) WITH ('connector' = 'kafka', 'topic' = 'united_self', 'value.format' = 'json');
CREATE TABLE any_of (id INT) WITH ('connector' = 'kafka', 'topic' = 'any_of', 'value.format' = 'json');
CREATE TABLE none_of (id INT, k STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'none_of', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE window_any_key (o INT, p INT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'window_any_key', 'value.format' = 'json');
CREATE TABLE window_using (k STRING, o INT, p INT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'window_using', 'value.format' = 'json');
CREATE TABLE window_self (k STRING, other STRING, c BIGINT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'window_self', 'value.format' = 'json');
CREATE TABLE window_three (k STRING, o BIGINT, p INT, q INT) WITH ('connector' = 'kafka', 'topic' = 'window_three', 'value.format' = 'json');
CREATE TABLE window_top (k STRING, o INT, p INT) WITH ('connector' = 'kafka', 'topic' = 'window_top', 'value.format' = 'json');
CREATE TABLE window_anti (o INT, e TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'window_anti', 'value.format' = 'json');
CREATE TABLE window_semi_decimal (o INT, e TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'window_semi_decimal', 'value.format' = 'json');
CREATE TABLE sessions (k STRING, o BIGINT, p BIGINT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'sessions', 'value.format' = 'json');
CREATE TABLE rated (o INT, rate DECIMAL(5, 2), since TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'rated', 'value.format' = 'json');
CREATE TABLE rated_pairs (o INT, p INT, rate DECIMAL(5, 2)) WITH ('connector' = 'kafka', 'topic' = 'rated_pairs', 'value.format' = 'json');
CREATE TABLE distinct_pairs (k STRING, n DECIMAL(6, 2), PRIMARY KEY (k, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'distinct_pairs', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO one_bound
SELECT o.id, p.id FROM o JOIN p ON o.k = p.k AND o.t >= p.t;
INSERT INTO one_bound_left
SELECT o.id, COUNT(p.id), MIN(p.id) FROM o LEFT JOIN p ON o.k = p.k AND p.t < o.t - INTERVAL '3' SECOND GROUP BY o.id;
INSERT INTO past_left
SELECT o.id, p.id FROM o LEFT JOIN p ON o.k = p.k AND o.t BETWEEN p.t + INTERVAL '2' SECOND AND p.t + INTERVAL '9' SECOND;
INSERT INTO past_right
SELECT o.id, p.id FROM o RIGHT JOIN p ON o.k = p.k AND o.t > p.t + INTERVAL '2' SECOND AND o.t <= p.t + INTERVAL '9' SECOND;
INSERT INTO past_full
SELECT o.id, p.id FROM o FULL JOIN p ON o.k = p.k AND p.t > o.t - INTERVAL '9' SECOND AND p.t + INTERVAL '2' SECOND < o.t;
INSERT INTO future_full
SELECT o.id, p.id FROM o FULL OUTER JOIN p ON o.k = p.k AND o.t - INTERVAL '7' SECOND >= p.t - INTERVAL '16' SECOND AND p.t >= o.t + INTERVAL '3' SECOND AND o.n < p.n;
INSERT INTO on_left_only
SELECT o.id, p.id FROM o LEFT JOIN p ON o.k = p.k AND o.t BETWEEN p.t - INTERVAL '5' SECOND AND p.t + INTERVAL '5' SECOND AND o.n > 2;
INSERT INTO on_right_only
SELECT o.id, p.id FROM o RIGHT JOIN p ON o.k = p.k AND o.t BETWEEN p.t - INTERVAL '5' SECOND AND p.t + INTERVAL '5' SECOND AND o.n > 2 AND p.n IS NOT NULL;
INSERT INTO where_right
SELECT o.id, p.id FROM o LEFT JOIN p ON o.k = p.k AND o.t BETWEEN p.t - INTERVAL '5' SECOND AND p.t + INTERVAL '5' SECOND WHERE p.n > 2 OR p.n IS NULL;
INSERT INTO empty_interval
SELECT o.id, p.id FROM o FULL JOIN p ON o.k = p.k AND o.t >= p.t + INTERVAL '5' SECOND AND o.t <= p.t - INTERVAL '5' SECOND;
INSERT INTO instant_left
SELECT o.id, p.id FROM o LEFT JOIN p ON o.t = p.t AND o.k = p.k;
INSERT INTO decimal_keys
SELECT o.id, p.id FROM o JOIN p ON o.n = p.n AND p.t BETWEEN o.t - INTERVAL '30' SECOND AND o.t + INTERVAL '30' SECOND;
INSERT INTO field_keys
SELECT o.id, p.id, p.r.c FROM o LEFT JOIN p ON o.r.a = p.r.a AND o.r.b = p.r.c AND p.t BETWEEN o.t - INTERVAL '10' SECOND AND o.t + INTERVAL '10' SECOND;
INSERT INTO byte_keys
SELECT o.id, p.id FROM o FULL JOIN p ON o.x = p.x AND p.t BETWEEN o.t - INTERVAL '10' SECOND AND o.t + INTERVAL '10' SECOND;
INSERT INTO tag_keys
SELECT u.id, u.tag, p.id FROM (SELECT o.id, tag, o.t FROM o CROSS JOIN UNNEST(o.tags) AS e (tag)) AS u LEFT JOIN p ON u.tag = p.k AND p.t BETWEEN u.t - INTERVAL '10' SECOND AND u.t + INTERVAL '10' SECOND;
INSERT INTO three
SELECT o.id, p.id, q.id FROM o LEFT JOIN p ON o.k = p.k AND p.t BETWEEN o.t AND o.t + INTERVAL '5' SECOND LEFT JOIN q ON o.k = q.k AND q.t BETWEEN o.t - INTERVAL '5' SECOND AND o.t;
INSERT INTO three_through
SELECT o.id, p.id, q.id FROM o JOIN p ON o.k = p.k AND p.t BETWEEN o.t AND o.t + INTERVAL '5' SECOND JOIN q ON p.k = q.k AND q.t BETWEEN p.t - INTERVAL '5' SECOND AND p.t + INTERVAL '1' SECOND AND q.id <> o.id;
INSERT INTO windows_of_pairs
SELECT window_start, k, COUNT(*), COUNT(DISTINCT pid), COUNT(DISTINCT id) FILTER (WHERE n > 2) FROM TABLE(TUMBLE(TABLE close_, DESCRIPTOR(t), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;
INSERT INTO windows_of_second
SELECT window_start, window_end, COUNT(*) FROM TABLE(HOP(TABLE close_, DESCRIPTOR(pt), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end HAVING COUNT(*) > 1;
INSERT INTO running_
SELECT id, pid, COUNT(*) OVER w, SUM(n) OVER w FROM close_ WINDOW w AS (PARTITION BY k ORDER BY pt RANGE BETWEEN INTERVAL '8' SECOND PRECEDING AND CURRENT ROW);
INSERT INTO before_
SELECT id, pid, LAG(pid) OVER (PARTITION BY id ORDER BY pt) FROM close_;
INSERT INTO firsts
SELECT id, pid FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY pt) AS rn FROM close_) WHERE rn = 1;
INSERT INTO lasts
SELECT id, pid FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY pt DESC) AS rn FROM close_) WHERE rn = 1;
INSERT INTO united
SELECT b.id, q.id FROM all_ AS b LEFT JOIN q ON b.k = q.k AND q.t BETWEEN b.t - INTERVAL '2' SECOND AND b.t + INTERVAL '8' SECOND;
INSERT INTO united_self
SELECT a.id, b.id FROM all_ AS a JOIN all_ AS b ON a.k = b.k AND a.id < b.id AND b.t BETWEEN a.t AND a.t + INTERVAL '3' SECOND;
INSERT INTO any_of
SELECT id FROM o WHERE k IN (SELECT k FROM p WHERE p.t BETWEEN o.t AND o.t + INTERVAL '5' SECOND AND p.n >= o.n);
INSERT INTO none_of
SELECT id, k FROM o WHERE NOT EXISTS (SELECT 1 FROM p WHERE p.k = o.k AND p.t BETWEEN o.t AND o.t + INTERVAL '5' SECOND);
INSERT INTO window_any_key
SELECT a.id, b.id, COALESCE(a.window_start, b.window_start) FROM ow AS a FULL JOIN pw AS b ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.n < b.n;
INSERT INTO window_using
SELECT k, a.id, b.id, window_start FROM (SELECT id, CAST(k AS STRING) AS k, window_start, window_end FROM ow) AS a FULL JOIN (SELECT id, CAST(k AS STRING) AS k, window_start, window_end FROM pw) AS b USING (k, window_start, window_end);
INSERT INTO window_self
SELECT x.k, y.k, y.c, x.window_start FROM counts AS x LEFT JOIN counts AS y ON x.window_start = y.window_start AND x.window_end = y.window_end AND x.k <> y.k AND x.c >= y.c;
INSERT INTO window_three
SELECT x.k, x.c, b.id, c.id FROM counts AS x LEFT JOIN pw AS b ON x.k = b.k AND x.window_start = b.window_start AND x.window_end = b.window_end FULL JOIN (SELECT * FROM TABLE(TUMBLE(TABLE q, DESCRIPTOR(t), INTERVAL '10' SECOND))) AS c ON x.k = c.k AND x.window_start = c.window_start AND x.window_end = c.window_end;
INSERT INTO window_top
SELECT a.k, a.id, b.id FROM (SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY n DESC, id) AS rn FROM ow) WHERE rn <= 1) AS a RIGHT JOIN (SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY t DESC) AS rn FROM pw) WHERE rn = 1) AS b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;
INSERT INTO window_anti
SELECT a.id, a.window_end FROM TABLE(CUMULATE(TABLE o, DESCRIPTOR(t), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) AS a WHERE NOT EXISTS (SELECT 1 FROM TABLE(CUMULATE(TABLE p, DESCRIPTOR(t), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) AS b WHERE a.window_start = b.window_start AND a.window_end = b.window_end AND a.n = b.n);
INSERT INTO window_semi_decimal
SELECT a.id, a.window_end FROM TABLE(HOP(TABLE o, DESCRIPTOR(t), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) AS a WHERE a.n IN (SELECT b.n FROM TABLE(HOP(TABLE p, DESCRIPTOR(t), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) AS b WHERE a.window_start = b.window_start AND a.window_end = b.window_end);
INSERT INTO sessions
SELECT a.k, a.c, b.c, a.window_start FROM (SELECT k, window_start, window_end, COUNT(*) AS c FROM TABLE(SESSION(TABLE o PARTITION BY k, DESCRIPTOR(t), INTERVAL '6' SECOND)) GROUP BY k, window_start, window_end) AS a LEFT JOIN (SELECT k, window_start, window_end, COUNT(*) AS c FROM TABLE(SESSION(TABLE p PARTITION BY k, DESCRIPTOR(t), INTERVAL '6' SECOND)) GROUP BY k, window_start, window_end) AS b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;
INSERT INTO rated
SELECT o.id, v.rate, v.t FROM o LEFT JOIN versions FOR SYSTEM_TIME AS OF o.t AS v ON CAST(o.k AS STRING) = v.k AND v.rate <> o.n;
INSERT INTO rated_pairs
SELECT c.id, c.pid, v.rate FROM close_ AS c LEFT JOIN versions FOR SYSTEM_TIME AS OF c.pt AS v ON CAST(c.k AS STRING) = v.k;
INSERT INTO distinct_pairs
SELECT DISTINCT k, n FROM close_ WHERE n IS NOT NULL;
