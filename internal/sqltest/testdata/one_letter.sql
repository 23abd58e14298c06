CREATE TABLE a (n INT, texts ARRAY<STRING>, t STRING) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','format'='json','topic'='a');
CREATE TABLE o (n INT, v INT) WITH ('connector'='kafka','topic'='o','format'='json');
CREATE TABLE p (n INT, v INT) WITH ('connector'='kafka','topic'='p','format'='json');
CREATE TABLE sums (n INT, v BIGINT, PRIMARY KEY (n) NOT ENFORCED) WITH ('connector'='upsert-kafka','topic'='sums','key.format'='json','value.format'='json');
INSERT INTO o SELECT n, CAST(e AS INT) FROM a CROSS JOIN UNNEST(texts) AS u (e);
INSERT INTO p SELECT n, CAST(t AS INT) FROM a;
INSERT INTO sums SELECT n, CAST(m AS BIGINT) FROM (SELECT n, MAX(t) AS m FROM a GROUP BY n);
