-- Top-N and deduplication: which rows are kept, in which order, with NULL among the values.
CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE newest (d STRING, v DOUBLE, ts TIMESTAMP_LTZ(3), PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'newest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE oldest (d STRING, v DOUBLE, ts TIMESTAMP_LTZ(3), PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'oldest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE newest_of_two (d STRING, s STRING, v DOUBLE, PRIMARY KEY (d, s) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'newest_of_two', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE highest (d STRING, v DOUBLE, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'highest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE top_three (s STRING, rn BIGINT, d STRING, n INT, PRIMARY KEY (s, rn) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'top_three', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE least_three (s STRING, rn BIGINT, d STRING, n INT, PRIMARY KEY (s, rn) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'least_three', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE two_orders (s STRING, rn BIGINT, d STRING, n INT, PRIMARY KEY (s, rn) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'two_orders', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE window_top (s TIMESTAMP(3), rn BIGINT, d STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'window_top', 'value.format' = 'json');
CREATE TABLE window_top_of (s TIMESTAMP(3), x STRING, d STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'window_top_of', 'value.format' = 'json');
CREATE TABLE window_first (s TIMESTAMP(3), d STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'window_first', 'value.format' = 'json');
CREATE TABLE window_last (s TIMESTAMP(3), d STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'window_last', 'value.format' = 'json');
CREATE TABLE window_best (s TIMESTAMP(3), d STRING, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'window_best', 'value.format' = 'json');
INSERT INTO newest
SELECT device_id, `value`, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM readings) WHERE rn = 1;
INSERT INTO oldest
SELECT device_id, `value`, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts) AS rn FROM readings) WHERE rn = 1;
INSERT INTO newest_of_two
SELECT device_id, sensor, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id, sensor ORDER BY ts DESC) AS rn FROM readings) WHERE rn = 1;
INSERT INTO highest
SELECT device_id, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY `value` DESC) AS rn FROM readings) WHERE rn <= 1;
INSERT INTO top_three
SELECT sensor, rn, device_id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY sensor ORDER BY n DESC) AS rn FROM readings) WHERE rn <= 3;
INSERT INTO least_three
SELECT sensor, rn, device_id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY sensor ORDER BY n ASC) AS rn FROM readings) WHERE rn <= 3;
INSERT INTO two_orders
SELECT sensor, rn, device_id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY sensor ORDER BY device_id, n DESC) AS rn FROM readings) WHERE rn <= 2;
INSERT INTO window_top
SELECT window_start, rn, device_id, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY `value` DESC) AS rn FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE rn <= 2;
INSERT INTO window_top_of
SELECT window_start, sensor, device_id, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, sensor ORDER BY `value` DESC) AS rn FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE rn <= 1;
INSERT INTO window_first
SELECT window_start, device_id, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, device_id ORDER BY ts) AS rn FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE rn = 1;
INSERT INTO window_last
SELECT window_start, device_id, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, device_id ORDER BY ts DESC) AS rn FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE rn = 1;
INSERT INTO window_best
SELECT window_start, device_id, c FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY c DESC, device_id) AS rn FROM (SELECT device_id, window_start, window_end, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end)) WHERE rn <= 1;
