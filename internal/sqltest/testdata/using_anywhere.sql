-- Columns of USING in other clauses and in a further USING, where they are ambiguous in Flink 2.2.
CREATE TABLE a (k STRING, x INT, y INT) WITH ('connector' = 'kafka', 'topic' = 'a', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE b (y INT, k STRING, z INT) WITH ('connector' = 'kafka', 'topic' = 'b', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE c (k STRING, w INT) WITH ('connector' = 'kafka', 'topic' = 'c', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE full_where (k STRING, x INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'full_where', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE full_group (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'full_group', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE three (k STRING, x INT, z INT, w INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'three', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO full_where SELECT k, x FROM a FULL JOIN b USING (k) WHERE k = 's';
INSERT INTO full_group SELECT k, COUNT(*) FROM a FULL JOIN b USING (k) WHERE k IS NOT NULL GROUP BY k;
INSERT INTO three SELECT COALESCE(k, '?'), x, z, w FROM a FULL JOIN b USING (k) FULL JOIN c USING (k) WHERE k IS NOT NULL;
