-- A table reads the topics whose whole names match a pattern.
CREATE TABLE readings (device_id STRING, n INT, source STRING METADATA FROM 'topic' VIRTUAL) WITH ('connector' = 'kafka', 'topic-pattern' = 'site-[ab]|yard', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE counts (source STRING, n BIGINT, total INT, PRIMARY KEY (source) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO counts SELECT source, COUNT(*), SUM(n) FROM readings GROUP BY source;
CREATE TABLE totals (device_id STRING, n BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'totals', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO totals SELECT device_id, COUNT(*) FROM readings GROUP BY device_id;
