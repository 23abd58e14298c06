CREATE TABLE readings (device STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE limits (name STRING, device STRING, v INT, PRIMARY KEY (name) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'limits', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE above (device STRING, v INT, PRIMARY KEY (device, v) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'above', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE high (device STRING, v INT, PRIMARY KEY (device, v) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'high', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE frequent (device STRING, n BIGINT, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'frequent', 'key.format' = 'json', 'value.format' = 'json');
-- A row of an aggregate without groups is joined to all others.
INSERT INTO above SELECT COALESCE(device, '?'), v FROM readings WHERE v > (SELECT MAX(v) FROM limits);
-- Values of the same rows.
INSERT INTO high SELECT COALESCE(device, '?'), v FROM readings WHERE v >= (SELECT AVG(v) FROM readings);
-- A value of groups.
INSERT INTO frequent SELECT COALESCE(device, '?'), COUNT(*) FROM readings GROUP BY device HAVING COUNT(*) * 3 >= (SELECT COUNT(*) FROM readings);
