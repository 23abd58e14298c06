CREATE TABLE readings (device STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE limits (name STRING, v INT, PRIMARY KEY (name) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'limits', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE above (device STRING, v INT, PRIMARY KEY (device, v) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'above', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE share (device STRING, n BIGINT, total BIGINT, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'share', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO above SELECT device, v FROM readings WHERE v > (SELECT MAX(v) FROM limits);
INSERT INTO share SELECT device, n, (SELECT COUNT(*) FROM readings) AS total FROM (SELECT device, COUNT(*) AS n FROM readings GROUP BY device);
