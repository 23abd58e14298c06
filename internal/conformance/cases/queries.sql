-- Query constructs around expressions: views, subqueries, WITH, UNION, DISTINCT, and WHERE with NULL.
CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE VIEW warm AS SELECT device_id AS d, `value` AS v, ts FROM readings WHERE `value` > 1;
CREATE TABLE everything_of (device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'everything_of', 'value.format' = 'json');
CREATE TABLE renamed (x STRING, y DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'renamed', 'value.format' = 'json');
CREATE TABLE from_view (d STRING, v DOUBLE, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'from_view', 'value.format' = 'json');
CREATE TABLE view_again (d STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'view_again', 'value.format' = 'json');
CREATE TABLE nested (d STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'nested', 'value.format' = 'json');
CREATE TABLE with_names (d STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'with_names', 'value.format' = 'json');
CREATE TABLE unioned (d STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'unioned', 'value.format' = 'json');
CREATE TABLE three (d STRING) WITH ('connector' = 'kafka', 'topic' = 'three', 'value.format' = 'json');
CREATE TABLE widened (v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'widened', 'value.format' = 'json');
CREATE TABLE united (d STRING, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'united', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE different (d STRING, s STRING, PRIMARY KEY (d, s) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'different', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE counted (c BIGINT, s STRING, PRIMARY KEY (s) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counted', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE filters (n INT) WITH ('connector' = 'kafka', 'topic' = 'filters', 'value.format' = 'json');
CREATE TABLE null_filter (d STRING) WITH ('connector' = 'kafka', 'topic' = 'null_filter', 'value.format' = 'json');
CREATE TABLE null_filter_not (d STRING) WITH ('connector' = 'kafka', 'topic' = 'null_filter_not', 'value.format' = 'json');
CREATE TABLE is_null (d STRING) WITH ('connector' = 'kafka', 'topic' = 'is_null', 'value.format' = 'json');
CREATE TABLE in_list (n INT) WITH ('connector' = 'kafka', 'topic' = 'in_list', 'value.format' = 'json');
CREATE TABLE constant_columns (a STRING, b INT, c DECIMAL(5, 2), d TIMESTAMP(3), e STRING) WITH ('connector' = 'kafka', 'topic' = 'constant_columns', 'value.format' = 'json');
CREATE TABLE columns_named (a STRING, b INT) WITH ('connector' = 'kafka', 'topic' = 'columns_named', 'value.format' = 'json');
CREATE TABLE cases (d STRING, k STRING) WITH ('connector' = 'kafka', 'topic' = 'cases', 'value.format' = 'json');
CREATE TABLE never (d STRING) WITH ('connector' = 'kafka', 'topic' = 'never', 'value.format' = 'json');
CREATE TABLE narrowed (s STRING, m STRING) WITH ('connector' = 'kafka', 'topic' = 'narrowed', 'value.format' = 'json');
INSERT INTO everything_of
SELECT * FROM readings;
INSERT INTO renamed
SELECT r.device_id AS a, r.`value` * 2 FROM readings AS r;
INSERT INTO from_view
SELECT * FROM warm;
INSERT INTO view_again
SELECT w.d, w.v + 1 FROM warm w WHERE w.v < 5;
INSERT INTO nested
SELECT d, v FROM (SELECT device_id AS d, `value` AS v FROM (SELECT * FROM readings WHERE n > 1)) WHERE v > 0;
INSERT INTO with_names
WITH a AS (SELECT device_id, `value` FROM readings), b AS (SELECT * FROM a WHERE `value` > 2) SELECT device_id, `value` FROM b;
INSERT INTO unioned
SELECT device_id, n FROM readings WHERE sensor = 't' UNION ALL SELECT sensor, n * 10 FROM readings WHERE n IS NOT NULL;
INSERT INTO three
SELECT device_id FROM readings UNION ALL SELECT sensor FROM readings UNION ALL SELECT 'x' FROM readings WHERE n = 1;
INSERT INTO widened
SELECT `value` FROM readings UNION ALL SELECT n FROM readings;
INSERT INTO united
SELECT device_id FROM readings UNION SELECT sensor FROM readings;
INSERT INTO different
SELECT DISTINCT device_id, sensor FROM readings;
INSERT INTO counted
SELECT COUNT(*), sensor FROM (SELECT DISTINCT device_id, sensor FROM readings) GROUP BY sensor;
INSERT INTO filters
SELECT n FROM readings WHERE (sensor = 't' AND `value` > 0 OR n = 3) AND NOT device_id = 'b';
INSERT INTO null_filter
SELECT device_id FROM readings WHERE `value` <> 7;
INSERT INTO null_filter_not
SELECT device_id FROM readings WHERE NOT (`value` > 1);
INSERT INTO is_null
SELECT device_id FROM readings WHERE `value` IS NULL OR n IS NULL;
INSERT INTO in_list
SELECT n FROM readings WHERE n IN (1, 2, 3) AND device_id NOT IN ('b');
INSERT INTO constant_columns
SELECT 'x', 1, 1.25, TIMESTAMP '2026-01-01 00:00:00', CAST(NULL AS STRING) FROM readings WHERE n = 1;
INSERT INTO columns_named (b, a)
SELECT n, device_id FROM readings WHERE n < 3;
INSERT INTO cases
SELECT device_id, CASE WHEN `value` IS NULL THEN 'none' WHEN `value` > 5 THEN 'high' WHEN `value` > 0 THEN 'low' END FROM readings;
INSERT INTO never
SELECT device_id FROM readings WHERE 1 = 2;
INSERT INTO narrowed
SELECT CAST(device_id AS VARCHAR(1)), sensor || '-' || device_id FROM readings;
