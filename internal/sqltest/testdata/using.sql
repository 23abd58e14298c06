-- Columns of USING and NATURAL in SELECT.
CREATE TABLE a (k STRING, x INT, y INT) WITH ('connector' = 'kafka', 'topic' = 'a', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE b (y INT, k STRING, z INT) WITH ('connector' = 'kafka', 'topic' = 'b', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE c (k STRING, w INT) WITH ('connector' = 'kafka', 'topic' = 'c', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE natural_ (k STRING, y INT, x INT, z INT) WITH ('connector' = 'kafka', 'topic' = 'natural_', 'value.format' = 'json');
CREATE TABLE natural_left (k STRING, y INT, x INT, z INT, PRIMARY KEY (k, y) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'natural_left', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE natural_full (k STRING, y INT, x INT, z INT, PRIMARY KEY (k, y) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'natural_full', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE right_ (k STRING, x INT, z INT, ak STRING, bk STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'right_', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE full_ (k STRING, x INT, z INT, ak STRING, bk STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'full_', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE full_group (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'full_group', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO natural_ SELECT * FROM a NATURAL JOIN b;
INSERT INTO natural_left SELECT * FROM (SELECT * FROM a NATURAL LEFT OUTER JOIN b) WHERE k IS NOT NULL AND y IS NOT NULL;
INSERT INTO natural_full SELECT COALESCE(k, '?'), y, x, z FROM (SELECT * FROM a NATURAL FULL JOIN b) WHERE y IS NOT NULL;
INSERT INTO right_ SELECT k, x, z, ak, bk FROM (SELECT k, x, z, a.k AS ak, b.k AS bk FROM a RIGHT JOIN b USING (k)) WHERE k IS NOT NULL;
INSERT INTO full_ SELECT COALESCE(k, '?'), x, z, ak, bk FROM (SELECT k, x, z, a.k AS ak, b.k AS bk FROM a FULL JOIN b USING (k)) WHERE k IS NULL OR k <> 'p';
INSERT INTO full_group SELECT k, COUNT(*) FROM (SELECT k FROM a FULL JOIN b USING (k)) WHERE k IS NOT NULL GROUP BY k;
