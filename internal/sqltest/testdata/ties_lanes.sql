-- Rows with equal times in several partitions, after UNION ALL of two tables: ordered by table and partition, not in read order.
CREATE TABLE readings (device_id STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE others (device_id STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'others', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE VIEW everything AS SELECT * FROM readings UNION ALL SELECT * FROM others;
CREATE TABLE sums (d STRING, n INT, total INT) WITH ('connector' = 'kafka', 'topic' = 'sums', 'format' = 'json');
CREATE TABLE firsts (d STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'firsts', 'format' = 'json');
CREATE TABLE moving (d STRING, n INT, total INT) WITH ('connector' = 'kafka', 'topic' = 'moving', 'format' = 'json');
CREATE TABLE latest (d STRING, n INT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'latest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE visits (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), total INT) WITH ('connector' = 'kafka', 'topic' = 'visits', 'format' = 'json');
CREATE TABLE top_two (n INT, r BIGINT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'top_two', 'format' = 'json');
INSERT INTO sums SELECT device_id, n, SUM(n) OVER (PARTITION BY device_id ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM everything;
INSERT INTO moving SELECT device_id, n, SUM(n) OVER (PARTITION BY device_id ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM everything;
INSERT INTO firsts SELECT device_id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts) AS rn FROM everything) WHERE rn = 1;
INSERT INTO latest SELECT device_id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM everything) WHERE rn = 1;
INSERT INTO visits SELECT device_id, window_start, window_end, SUM(n) FROM TABLE(SESSION(TABLE everything PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO top_two SELECT n, rn, window_start FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY ts) AS rn FROM TABLE(TUMBLE(TABLE everything, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) WHERE rn <= 2;
