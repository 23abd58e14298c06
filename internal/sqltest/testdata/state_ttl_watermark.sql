-- With a watermark, state expires when it has passed the last change by the TTL.
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE readings (id STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json');

CREATE TABLE counts (id STRING, n BIGINT, PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO counts SELECT id, COUNT(*) FROM readings GROUP BY id;

CREATE TABLE firsts (id STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'firsts', 'format' = 'json');
INSERT INTO firsts SELECT id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts) AS n FROM readings) WHERE n = 1;

CREATE TABLE lasts (id STRING, v INT, PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'lasts', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO lasts SELECT id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts DESC) AS n FROM readings) WHERE n = 1;

CREATE TABLE seen (id STRING) WITH ('connector' = 'kafka', 'topic' = 'seen', 'format' = 'json');
INSERT INTO seen SELECT DISTINCT id FROM readings WHERE v > 0;
