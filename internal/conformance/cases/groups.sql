-- GROUP BY without a window: the result of each aggregate for each type, including NULL and overflow.
CREATE TABLE readings (
  id INT, d STRING, b BOOLEAN, t TINYINT, s SMALLINT, i INT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(10, 2), y DECIMAL(20, 0), u STRING, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3)
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE counts (d STRING, c BIGINT, cb BIGINT, ct BIGINT, cu BIGINT, cd BIGINT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sums (d STRING, t TINYINT, s SMALLINT, i INT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(38, 2), y DECIMAL(38, 0), PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sums', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE averages (d STRING, t TINYINT, s SMALLINT, i INT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(38, 6), y DECIMAL(38, 6), PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'averages', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE least (d STRING, b BOOLEAN, t TINYINT, i INT, f FLOAT, x DECIMAL(10, 2), u STRING, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'least', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE greatest_of (d STRING, b BOOLEAN, t TINYINT, l BIGINT, v DOUBLE, y DECIMAL(20, 0), u STRING, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'greatest_of', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE firsts (d STRING, b BOOLEAN, i INT, v DOUBLE, x DECIMAL(10, 2), u STRING, ts TIMESTAMP(3), PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'firsts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE lasts (d STRING, b BOOLEAN, i INT, v DOUBLE, x DECIMAL(10, 2), u STRING, ts TIMESTAMP(3), PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'lasts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE variances (d STRING, t TINYINT, i INT, f FLOAT, v DOUBLE, x DECIMAL(38, 6), PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'variances', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE deviated (d STRING, t TINYINT, i INT, v DOUBLE, x DECIMAL(38, 6), e DOUBLE, w DOUBLE, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'deviated', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE distincts (d STRING, s INT, a DOUBLE, n BIGINT, m INT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'distincts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE filtered (d STRING, c BIGINT, s DOUBLE, n BIGINT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'filtered', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE havings (d STRING, c BIGINT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'havings', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE by_two (d STRING, u STRING, c BIGINT, PRIMARY KEY (d, u) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'by_two', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE by_expression (k STRING, c BIGINT, s INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'by_expression', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE by_boolean (b BOOLEAN, c BIGINT, PRIMARY KEY (b) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'by_boolean', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE by_date (y BIGINT, c BIGINT, PRIMARY KEY (y) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'by_date', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE everything (`one` INT, c BIGINT, s DOUBLE, a DOUBLE, x DECIMAL(38, 2), PRIMARY KEY (`one`) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'everything', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE nothing (`one` INT, c BIGINT, s DOUBLE, m STRING, PRIMARY KEY (`one`) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'nothing', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE no_groups (d STRING, c BIGINT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'no_groups', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE different (d STRING, b BOOLEAN, PRIMARY KEY (d, b) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'different', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE united (d STRING, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'united', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO counts
SELECT d, COUNT(*), COUNT(b), COUNT(t), COUNT(u), COUNT(DISTINCT u) FROM readings GROUP BY d;
INSERT INTO sums
SELECT d, SUM(t), SUM(s), SUM(i), SUM(l), SUM(f), SUM(v), SUM(x), SUM(y) FROM readings GROUP BY d;
INSERT INTO averages
SELECT d, AVG(t), AVG(s), AVG(i), AVG(l), AVG(f), AVG(v), AVG(x), AVG(y) FROM readings GROUP BY d;
INSERT INTO least
SELECT d, MIN(b), MIN(t), MIN(i), MIN(f), MIN(x), MIN(u), MIN(dt), MIN(tm), MIN(ts), MIN(tz) FROM readings GROUP BY d;
INSERT INTO greatest_of
SELECT d, MAX(b), MAX(t), MAX(l), MAX(v), MAX(y), MAX(u), MAX(dt), MAX(tm), MAX(ts), MAX(tz) FROM readings GROUP BY d;
INSERT INTO firsts
SELECT d, FIRST_VALUE(b), FIRST_VALUE(i), FIRST_VALUE(v), FIRST_VALUE(x), FIRST_VALUE(u), FIRST_VALUE(ts) FROM readings GROUP BY d;
INSERT INTO lasts
SELECT d, LAST_VALUE(b), LAST_VALUE(i), LAST_VALUE(v), LAST_VALUE(x), LAST_VALUE(u), LAST_VALUE(ts) FROM readings GROUP BY d;
INSERT INTO variances
SELECT d, VAR_POP(t), VAR_SAMP(i), VAR_POP(f), VAR_SAMP(v), VAR_POP(x) FROM readings WHERE id > 2 AND id < 7 GROUP BY d;
INSERT INTO deviated
SELECT d, STDDEV_POP(t), STDDEV_SAMP(i), STDDEV_POP(v), STDDEV_SAMP(x), STDDEV(v), VARIANCE(v) FROM readings WHERE id > 2 AND id < 7 GROUP BY d;
INSERT INTO distincts
SELECT d, SUM(DISTINCT i), AVG(DISTINCT v), COUNT(DISTINCT b), MAX(DISTINCT i) FROM readings GROUP BY d;
INSERT INTO filtered
SELECT d, COUNT(*) FILTER (WHERE b), SUM(v) FILTER (WHERE i > 0), COUNT(DISTINCT u) FILTER (WHERE u <> '') FROM readings GROUP BY d;
INSERT INTO havings
SELECT d, COUNT(*) FROM readings GROUP BY d HAVING SUM(v) > 0 AND COUNT(*) > 1;
INSERT INTO by_two
SELECT d, u, COUNT(*) FROM readings WHERE u IS NOT NULL GROUP BY d, u;
INSERT INTO by_expression
SELECT CASE WHEN v > 0 THEN 'plus' WHEN v < 0 THEN 'minus' ELSE 'none' END, COUNT(*), SUM(s) + 1 FROM readings GROUP BY CASE WHEN v > 0 THEN 'plus' WHEN v < 0 THEN 'minus' ELSE 'none' END;
INSERT INTO by_boolean
SELECT b, COUNT(*) FROM readings WHERE b IS NOT NULL GROUP BY b;
INSERT INTO by_date
SELECT YEAR(dt), COUNT(*) FROM readings WHERE dt IS NOT NULL GROUP BY YEAR(dt);
INSERT INTO everything
SELECT 1, COUNT(*), SUM(v), AVG(v), SUM(x) FROM readings;
INSERT INTO nothing
SELECT 1, COUNT(*), SUM(v), MAX(u) FROM readings WHERE id > 100;
INSERT INTO no_groups
SELECT d, COUNT(*) FROM readings WHERE id > 100 GROUP BY d;
INSERT INTO different
SELECT DISTINCT d, b FROM readings WHERE b IS NOT NULL;
INSERT INTO united
SELECT d FROM readings UNION SELECT u FROM readings WHERE u IS NOT NULL;
