CREATE TABLE a (id INT, w DECIMAL(38, 0), f DECIMAL(38, 18), n DECIMAL(30, 1), s DECIMAL(30, 20)) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','topic'='a','format'='json');
CREATE TABLE o (id INT, first_ STRING, chosen STRING, mixed STRING) WITH ('connector'='kafka','topic'='o','format'='json');
CREATE TABLE u (id INT, v STRING) WITH ('connector'='kafka','topic'='u','format'='json');
INSERT INTO o SELECT id, CAST(COALESCE(w, f) AS STRING), CAST(CASE WHEN id = 1 THEN n ELSE s END AS STRING), CAST(IFNULL(n, s) AS STRING) FROM a;
INSERT INTO u SELECT id, CAST(v AS STRING) FROM (SELECT id, n AS v FROM a UNION ALL SELECT id, s AS v FROM a);
