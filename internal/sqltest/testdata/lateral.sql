-- LATERAL queries: rows that match, and the first rows of each key.
CREATE TABLE readings (
  device_id STRING, sensor STRING, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE devices (device_id STRING, site STRING, least INT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE top_two (s STRING, d STRING, n INT, PRIMARY KEY (s, d, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'top_two', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE newest (s STRING, d STRING, n INT, PRIMARY KEY (s, d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'newest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE least_at (site STRING, d STRING, least INT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'least_at', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE exceeding (d STRING, s STRING, n INT, PRIMARY KEY (d, s, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'exceeding', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE with_others (d STRING, n INT, other STRING, m INT, PRIMARY KEY (d, n, other, m) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'with_others', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO top_two SELECT t.sensor, l.device_id, l.n FROM (SELECT DISTINCT sensor FROM readings) AS t, LATERAL (SELECT device_id, n FROM readings WHERE sensor = t.sensor ORDER BY n DESC LIMIT 2) AS l;
INSERT INTO newest SELECT t.s, t.d, l.m FROM (SELECT device_id AS d, sensor AS s FROM readings GROUP BY device_id, sensor) AS t JOIN LATERAL (SELECT n, ts FROM readings AS r WHERE t.s = r.sensor AND r.device_id = t.d ORDER BY ts DESC, n LIMIT 1) AS l (m, at_) ON TRUE;
INSERT INTO least_at SELECT t.site, l.device_id, l.least FROM (SELECT DISTINCT site FROM devices) AS t, LATERAL (SELECT device_id, least FROM devices WHERE site = t.site ORDER BY 2, 1 LIMIT 1) AS l;
INSERT INTO exceeding SELECT t.device_id, COALESCE(l.s, 'none'), COALESCE(l.n, 0) FROM devices AS t LEFT JOIN LATERAL (SELECT sensor AS s, n FROM readings WHERE device_id = t.device_id AND n > t.least) AS l ON l.n < 100;
INSERT INTO with_others SELECT a.device_id, a.n, b.d, b.m FROM readings AS a, LATERAL (SELECT device_id AS d, n AS m FROM readings WHERE device_id <> a.device_id AND sensor = a.sensor AND n > 3) AS b WHERE a.n < 5;
