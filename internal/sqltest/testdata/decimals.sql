CREATE TABLE events (k STRING, d DECIMAL(10, 2), big DECIMAL(38, 0))
WITH ('connector' = 'kafka', 'topic' = 'events', 'value.format' = 'json', 'value.json.encode.decimal-as-plain-number' = 'true', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (k STRING, total DECIMAL(38, 2), mean DECIMAL(38, 6), lo DECIMAL(10, 2), top DECIMAL(38, 0), third DECIMAL(23, 13), PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'results', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO results SELECT k, SUM(d), AVG(d), MIN(d), SUM(big), MAX(d) / CAST(3 AS DECIMAL(10, 0)) FROM events GROUP BY k;
