-- Rows of VALUES that are written, counted, and kept by a join although no row matches.
CREATE TABLE readings (device_id STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE seeds (device_id STRING, site STRING, least INT, price DECIMAL(6, 2), since DATE, seen TIMESTAMP(3), PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'seeds', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE per_site (site STRING, devices BIGINT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'per_site', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE expected (device_id STRING, readings BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'expected', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE everywhere (device_id STRING, site STRING, n INT, PRIMARY KEY (device_id, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'everywhere', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE both_kinds (device_id STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'both_kinds', 'value.format' = 'json');
INSERT INTO seeds VALUES ('a', 'x', 1, 1.5, DATE '2026-01-01', TIMESTAMP '2026-01-01 10:00:00.250'), ('b', CAST(NULL AS STRING), -2, 1234.25, DATE '1969-12-31', TIMESTAMP '1969-12-31 23:59:59.999'), ('é "q"', '', 0, 0, CAST(NULL AS DATE), CAST(NULL AS TIMESTAMP(3)));
INSERT INTO per_site SELECT v.site, COUNT(*) FROM (VALUES ('a', 'x'), ('b', 'y'), ('c', 'x')) AS v (device_id, site) GROUP BY v.site;
INSERT INTO expected SELECT v.device_id, COALESCE(c.readings, 0) FROM (VALUES ('a'), ('b'), ('c')) AS v (device_id) LEFT JOIN (SELECT device_id, COUNT(*) AS readings FROM readings GROUP BY device_id) AS c ON c.device_id = v.device_id;
INSERT INTO everywhere SELECT COALESCE(v.device_id, r.device_id), v.site, COALESCE(r.n, 0) FROM (VALUES ('a', 'x'), ('b', 'y')) AS v (device_id, site) FULL JOIN readings AS r ON r.device_id = v.device_id;
INSERT INTO both_kinds SELECT device_id, n FROM readings WHERE n > 5 UNION ALL VALUES ('z', 9), ('a', 7);
