-- ORDER BY time, ORDER BY … LIMIT, and LIMIT.
CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, price DECIMAL(10, 2), ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE sorted (device_id STRING, n INT, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'sorted', 'format' = 'json');
CREATE TABLE sorted_by_more (device_id STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'sorted_by_more', 'format' = 'json');
CREATE TABLE sorted_windows (device_id STRING, since TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'sorted_windows', 'format' = 'json');
CREATE TABLE windows_of_sorted (device_id STRING, since TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'windows_of_sorted', 'format' = 'json');
CREATE TABLE of_both (x STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'of_both', 'format' = 'json');
CREATE TABLE highest (n INT, device_id STRING, PRIMARY KEY (n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'highest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE next_highest (n INT, device_id STRING, PRIMARY KEY (n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'next_highest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE dearest (device_id STRING, n INT, PRIMARY KEY (device_id, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'dearest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE newest (device_id STRING, n INT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'newest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE oldest (device_id STRING, n INT, PRIMARY KEY (device_id, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'oldest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE busiest (device_id STRING, c BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busiest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE of_busiest (sensor STRING, c BIGINT, PRIMARY KEY (sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'of_busiest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE distinct_first (device_id STRING, n INT, PRIMARY KEY (device_id, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'distinct_first', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE three_x (x STRING) WITH ('connector' = 'kafka', 'topic' = 'three_x', 'format' = 'json');
CREATE TABLE all_of_them (device_id STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'all_of_them', 'format' = 'json');
CREATE TABLE none_of_them (device_id STRING) WITH ('connector' = 'kafka', 'topic' = 'none_of_them', 'format' = 'json');
CREATE TABLE all_groups (device_id STRING, c BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'all_groups', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO sorted SELECT device_id, n, ts FROM readings ORDER BY ts;
INSERT INTO sorted_by_more SELECT device_id, n FROM readings ORDER BY ts, `value` DESC, n NULLS LAST;
INSERT INTO sorted_windows SELECT device_id, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end, window_time ORDER BY window_time, device_id;
CREATE VIEW in_order AS SELECT * FROM readings ORDER BY ts;
INSERT INTO windows_of_sorted SELECT device_id, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE in_order, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end;
INSERT INTO of_both SELECT x, n FROM (SELECT device_id AS x, n, ts FROM readings UNION ALL SELECT sensor, n, ts FROM readings) ORDER BY ts;
INSERT INTO highest SELECT n, device_id FROM readings WHERE n IS NOT NULL ORDER BY n DESC LIMIT 3;
INSERT INTO next_highest SELECT n, device_id FROM readings WHERE n IS NOT NULL ORDER BY 1 DESC LIMIT 3 OFFSET 2;
INSERT INTO dearest SELECT device_id, n FROM readings WHERE n IS NOT NULL ORDER BY price DESC, `value` FETCH FIRST 4 ROWS ONLY;
INSERT INTO newest SELECT device_id, n FROM readings ORDER BY ts DESC, n DESC LIMIT 1;
INSERT INTO oldest SELECT device_id, n FROM readings WHERE n IS NOT NULL ORDER BY ts, n LIMIT 2;
INSERT INTO busiest SELECT device_id, COUNT(*) AS c FROM readings GROUP BY device_id ORDER BY c DESC, MAX(n) LIMIT 2;
INSERT INTO of_busiest SELECT sensor, COUNT(*) FROM (SELECT device_id, sensor FROM readings GROUP BY device_id, sensor ORDER BY COUNT(*) DESC, device_id LIMIT 3) GROUP BY sensor;
INSERT INTO distinct_first SELECT DISTINCT device_id, n FROM readings WHERE n IS NOT NULL ORDER BY n, device_id LIMIT 3;
INSERT INTO three_x SELECT 'x' FROM readings LIMIT 3 OFFSET 2;
INSERT INTO all_of_them SELECT device_id, n FROM readings LIMIT 100;
INSERT INTO none_of_them SELECT device_id FROM readings LIMIT 0;
INSERT INTO all_groups SELECT device_id, COUNT(*) FROM readings GROUP BY device_id LIMIT 100;
