-- Names, numbers and times as devices send them: dirty text that is cleaned, split, cast and formatted.
CREATE TABLE messages (id INT, name STRING, reading STRING, unit STRING, at_ STRING, payload STRING, n INT, price DECIMAL(10, 3), x DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'messages', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE VIEW cleaned AS SELECT id, UPPER(BTRIM(REGEXP_REPLACE(name, '[^A-Za-z0-9]+', '-'), '-')) AS name, TRY_CAST(REPLACE(BTRIM(reading), ',', '.') AS DOUBLE) AS v, LOWER(BTRIM(unit)) AS unit FROM messages;
CREATE TABLE clean_names (id INT, name STRING, plain STRING, first_ STRING, len INT) WITH ('connector' = 'kafka', 'topic' = 'clean_names', 'value.format' = 'json');
CREATE TABLE name_parts (id INT, site STRING, line STRING, device STRING, beyond STRING, last_ STRING, kind STRING, num INT) WITH ('connector' = 'kafka', 'topic' = 'name_parts', 'value.format' = 'json');
CREATE TABLE numbers (id INT, d DOUBLE, dec_ DECIMAL(8, 2), i INT, l BIGINT, b BOOLEAN, small TINYINT) WITH ('connector' = 'kafka', 'topic' = 'numbers', 'value.format' = 'json');
CREATE TABLE celsius (id INT, v DOUBLE, rounded DECIMAL(8, 1)) WITH ('connector' = 'kafka', 'topic' = 'celsius', 'value.format' = 'json');
CREATE TABLE escaped (id INT, low_line BOOLEAN, percent_ BOOLEAN, hall BOOLEAN, alike BOOLEAN, between_ BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'escaped', 'value.format' = 'json');
CREATE TABLE serials (id INT, padded STRING, masked STRING, hex_ STRING, at_pos INT, first_ STRING, swapped STRING) WITH ('connector' = 'kafka', 'topic' = 'serials', 'value.format' = 'json');
CREATE TABLE query_strings (id INT, t STRING, h DOUBLE, keys_ STRING, host STRING, page STRING, p STRING) WITH ('connector' = 'kafka', 'topic' = 'query_strings', 'value.format' = 'json');
CREATE TABLE moments (id INT, ts TIMESTAMP(3), d DATE, epoch BIGINT, text_ STRING) WITH ('connector' = 'kafka', 'topic' = 'moments', 'value.format' = 'json');
CREATE TABLE units (unit STRING, messages BIGINT, bad BIGINT, lowest DOUBLE, names BIGINT, share DECIMAL(5, 2), PRIMARY KEY (unit) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'units', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE money (id INT, gross DECIMAL(20, 4), third DECIMAL(38, 10), product_ DECIMAL(38, 6), rest DECIMAL(10, 3), negated DECIMAL(10, 3), parts STRING) WITH ('connector' = 'kafka', 'topic' = 'money', 'value.format' = 'json');
CREATE TABLE patterns (id INT, digits INT, first_at INT, found STRING, groups_ STRING, translated STRING, is_number BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'patterns', 'value.format' = 'json');
CREATE TABLE labels (id INT, label STRING, wide STRING, code STRING) WITH ('connector' = 'kafka', 'topic' = 'labels', 'value.format' = 'json');
CREATE TABLE classes (class_ STRING, devices STRING, n BIGINT, total DECIMAL(38, 3), PRIMARY KEY (class_) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'classes', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO clean_names
SELECT c.id, c.name, INITCAP(REPLACE(LOWER(c.name), '-', ' ')), SUBSTRING(c.name FROM 1 FOR 1), CHAR_LENGTH(c.name) FROM cleaned AS c WHERE c.name <> '';
INSERT INTO name_parts
SELECT id, SPLIT_INDEX(name, '/', 0), SPLIT_INDEX(name, '/', 1), SPLIT_INDEX(name, '/', 2), SPLIT_INDEX(name, '/', 9), REVERSE(SPLIT_INDEX(REVERSE(name), '/', 0)), REGEXP_EXTRACT(name, '([a-z]+)[-_ ]?(\d+)', 1), TRY_CAST(REGEXP_EXTRACT(name, '([a-z]+)[-_ ]?(\d+)', 2) AS INT) FROM messages;
INSERT INTO numbers
SELECT id, TRY_CAST(reading AS DOUBLE), TRY_CAST(REPLACE(reading, ',', '.') AS DECIMAL(8, 2)), TRY_CAST(reading AS INT), COALESCE(TRY_CAST(reading AS BIGINT), TRY_CAST(SPLIT_INDEX(reading, '.', 0) AS BIGINT), -1), TRY_CAST(reading AS BOOLEAN), TRY_CAST(n AS TINYINT) FROM messages;
INSERT INTO celsius
SELECT id, CASE unit WHEN 'c' THEN v WHEN '°c' THEN v WHEN 'f' THEN (v - 32) * 5 / 9 WHEN 'k' THEN v - 273.15 END, CAST(CASE WHEN unit IN ('f', '°f') THEN (v - 32) / 1.8 WHEN unit LIKE '%c' THEN v ELSE NULL END AS DECIMAL(8, 1)) FROM cleaned WHERE v IS NOT NULL AND unit IS NOT NULL;
INSERT INTO escaped
SELECT id, name LIKE '%\_%' ESCAPE '\', payload LIKE '%!%%' ESCAPE '!', name LIKE 'hall%', name SIMILAR TO '(hall|yard)[0-9]*/%', n BETWEEN SYMMETRIC 50 AND 10 FROM messages WHERE name NOT LIKE '%#_%' ESCAPE '#' OR n > 0;
INSERT INTO serials
SELECT id, LPAD(CAST(n AS STRING), 6, '0'), OVERLAY(name PLACING '***' FROM 2 FOR 3), HEX(n), POSITION('/' IN name), LEFT(name, 4) || '…' || RIGHT(name, 2), CONCAT_WS(':', RIGHT(name, 1), NULLIF(unit, ''), CHR(65 + MOD(ABS(n), 26))) FROM messages;
INSERT INTO query_strings
SELECT id, m['t'], TRY_CAST(m['h'] AS DOUBLE), ARRAY_JOIN(ARRAY_SORT(MAP_KEYS(m)), '+'), PARSE_URL('http://' || host || '/in/' || CAST(id AS STRING) || '?' || payload, 'HOST'), PARSE_URL('http://' || host || '/in/' || CAST(id AS STRING) || '?' || payload, 'PATH'), PARSE_URL('http://' || host || '/?' || payload, 'QUERY', 't') FROM (SELECT id, payload, COALESCE(NULLIF(SPLIT_INDEX(name, '/', 0), ''), 'nowhere') AS host, STR_TO_MAP(payload, '&', '=') AS m FROM messages WHERE payload NOT LIKE '{%' AND payload NOT LIKE '% %');
INSERT INTO moments
SELECT id, ts, CAST(ts AS DATE), UNIX_TIMESTAMP(DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm:ss')), DATE_FORMAT(ts, 'EEE dd MMM yyyy, HH:mm') FROM (SELECT id, COALESCE(TO_TIMESTAMP(at_), TO_TIMESTAMP(at_, 'dd.MM.yyyy HH:mm'), TO_TIMESTAMP(at_, 'yyyy-MM-dd''T''HH:mm:ss''Z'''), CAST(TO_TIMESTAMP_LTZ(TRY_CAST(at_ AS BIGINT), 3) AS TIMESTAMP(3))) AS ts FROM messages);
INSERT INTO units
SELECT COALESCE(NULLIF(NULLIF(unit, ''), 'n/a'), 'none'), COUNT(*), COUNT(*) FILTER (WHERE v IS NULL), MIN(v), COUNT(DISTINCT SPLIT_INDEX(name, '-', 0)), CAST(100.0 * COUNT(v) / COUNT(*) AS DECIMAL(5, 2)) FROM cleaned GROUP BY COALESCE(NULLIF(NULLIF(unit, ''), 'n/a'), 'none');
INSERT INTO money
SELECT id, price * 1.19, price / 3, price * price * n, MOD(price, 2.5), -price, CAST(ROUND(price, 1) AS STRING) || ' ' || CAST(CAST(price AS DECIMAL(10, 1)) AS STRING) || ' ' || CAST(FLOOR(price) AS STRING) || ' ' || CAST(price + 1 AS STRING) || ' ' || CAST(price - CAST(0.25 AS DECIMAL(3, 2)) AS STRING) FROM messages WHERE price IS NOT NULL;
INSERT INTO patterns
SELECT id, REGEXP_COUNT(name, '[0-9]'), REGEXP_INSTR(name, '[0-9]+'), REGEXP_SUBSTR(name, '[0-9]+'), ARRAY_JOIN(REGEXP_EXTRACT_ALL(name, '([a-z]+)(\d*)', 1), ','), TRANSLATE(name, '/-_ ', '....'), IS_DECIMAL(reading) AND NOT IS_ALPHA(name) FROM messages;
INSERT INTO labels
SELECT id, PRINTF('%s: %05d', name, n), PRINTF('%-8s|%8.2f|%x', unit, x, n), PRINTF('%d%%', n) FROM messages;
INSERT INTO classes
SELECT CASE WHEN n IS NULL THEN 'unknown' WHEN n < 0 THEN 'negative' WHEN n BETWEEN 0 AND 99 THEN 'small' ELSE 'large' END, CAST(COUNT(DISTINCT LOWER(name)) AS STRING) || ' of ' || CAST(COUNT(*) AS STRING), COUNT(n), SUM(price) FROM messages GROUP BY CASE WHEN n IS NULL THEN 'unknown' WHEN n < 0 THEN 'negative' WHEN n BETWEEN 0 AND 99 THEN 'small' ELSE 'large' END;
