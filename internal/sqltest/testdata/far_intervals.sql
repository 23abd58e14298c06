CREATE TABLE a (n BIGINT, m INT, ts TIMESTAMP(3)) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','topic'='a','format'='json');
CREATE TABLE o (at_ TIMESTAMP(3), later STRING, years STRING) WITH ('connector'='kafka','topic'='o','format'='json');
INSERT INTO o SELECT ts + n * INTERVAL '10' DAY, CAST(INTERVAL '10' DAY * n + INTERVAL '10' DAY * n AS STRING), CAST(m * INTERVAL '10' YEAR - INTERVAL '1' YEAR AS STRING) FROM a;
