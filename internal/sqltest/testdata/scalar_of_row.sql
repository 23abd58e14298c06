CREATE TABLE readings (device STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE limits (name STRING, device STRING, v INT, PRIMARY KEY (name) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'limits', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE own (device STRING, v INT, lowest INT, fallback INT, PRIMARY KEY (device, v) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'own', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sums (device STRING, limits_ BIGINT, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sums', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE named (device STRING, v INT, x INT, PRIMARY KEY (device, v) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'named', 'key.format' = 'json', 'value.format' = 'json');
-- Aggregates of the rows that correspond. Without any, COALESCE gets NULL.
INSERT INTO own SELECT COALESCE(device, '?'), v, (SELECT MIN(l.v) FROM limits AS l WHERE l.device = r.device AND l.v > 0), (SELECT COALESCE(MAX(l.v), -1) + 1 FROM limits AS l WHERE r.device = l.device) FROM readings AS r;
-- The same for groups. Without a row, COUNT is 0.
INSERT INTO sums SELECT COALESCE(device, '?'), (SELECT COUNT(*) FROM limits AS l WHERE l.device = r.device) FROM readings AS r GROUP BY device;
-- The row of a primary key.
INSERT INTO named SELECT COALESCE(device, '?'), v, (SELECT l.v FROM limits AS l WHERE l.name = r.device) FROM readings AS r;
