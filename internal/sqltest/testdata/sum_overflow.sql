CREATE TABLE a (k STRING, d DECIMAL(38, 2)) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','topic'='a','format'='json');
CREATE TABLE o (k STRING, s DECIMAL(38, 2), n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector'='upsert-kafka','topic'='o','key.format'='json','value.format'='json');
INSERT INTO o SELECT k, SUM(d), COUNT(*) FROM a GROUP BY k;
