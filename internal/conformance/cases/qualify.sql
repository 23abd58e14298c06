-- QUALIFY filters by functions OVER: in the condition, and by aliases of the query.
CREATE TABLE readings (device_id STRING, n INT, site STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE latest (device_id STRING, n INT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'latest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE top (site STRING, rn BIGINT, device_id STRING, n INT, PRIMARY KEY (site, rn) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'top', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE jumps (device_id STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'jumps', 'value.format' = 'json');
CREATE TABLE high (device_id STRING, ts TIMESTAMP(3), total INT) WITH ('connector' = 'kafka', 'topic' = 'high', 'value.format' = 'json');
CREATE TABLE minutes (device_id STRING, began TIMESTAMP(3), n INT) WITH ('connector' = 'kafka', 'topic' = 'minutes', 'value.format' = 'json');
INSERT INTO latest SELECT device_id, n FROM readings QUALIFY ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) = 1;
INSERT INTO top SELECT site, ROW_NUMBER() OVER (PARTITION BY site ORDER BY n DESC, device_id) AS rn, device_id, n FROM readings WHERE n > 0 QUALIFY rn <= 2;
INSERT INTO jumps SELECT device_id, n FROM readings AS r QUALIFY LAG(n) OVER (PARTITION BY device_id ORDER BY ts) <> r.n AND site IS NOT NULL;
INSERT INTO high SELECT device_id, ts, SUM(n) OVER (PARTITION BY device_id ORDER BY ts) AS total FROM readings QUALIFY total > 10;
INSERT INTO minutes SELECT device_id, window_start, n FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) QUALIFY ROW_NUMBER() OVER (PARTITION BY device_id, window_start, window_end ORDER BY n DESC) = 1;
