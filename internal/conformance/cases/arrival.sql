-- The order of arrival, by PROCTIME(): deduplication, the first and last rows of a key, and frames of rows.
CREATE TABLE readings (device_id STRING, n INT, kind STRING, arrived AS PROCTIME())
WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE firsts (device_id STRING, n INT, rn BIGINT) WITH ('connector' = 'kafka', 'topic' = 'firsts', 'format' = 'json');
CREATE TABLE lasts (device_id STRING, n INT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'lasts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE first_two (device_id STRING, rn BIGINT, n INT, PRIMARY KEY (device_id, rn) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'first_two', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE moving (device_id STRING, n INT, s BIGINT, c BIGINT, kinds BIGINT) WITH ('connector' = 'kafka', 'topic' = 'moving', 'format' = 'json');
CREATE TABLE totals (device_id STRING, n INT, s BIGINT, before INT, kinds BIGINT) WITH ('connector' = 'kafka', 'topic' = 'totals', 'format' = 'json');
INSERT INTO firsts SELECT device_id, n, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY arrived) AS rn FROM readings) WHERE rn = 1;
INSERT INTO lasts SELECT device_id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY PROCTIME() DESC) AS rn FROM readings) WHERE rn = 1;
INSERT INTO first_two SELECT device_id, rn, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY arrived ASC) AS rn FROM readings) WHERE rn <= 2;
INSERT INTO moving SELECT device_id, n, SUM(n) OVER w, COUNT(*) OVER w, COUNT(DISTINCT kind) OVER w FROM readings WINDOW w AS (PARTITION BY device_id ORDER BY arrived ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
INSERT INTO totals SELECT device_id, n, SUM(n) OVER w, LAG(n) OVER w, COUNT(DISTINCT kind) OVER w FROM readings WINDOW w AS (PARTITION BY device_id ORDER BY arrived);
