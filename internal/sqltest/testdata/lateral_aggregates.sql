-- LATERAL queries that aggregate the rows that correspond to each row.
CREATE TABLE readings (
  device_id STRING, sensor STRING, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE devices (device_id STRING, site STRING, least INT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE per_device (d STRING, readings BIGINT, total INT, least INT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'per_device', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE busy (d STRING, readings BIGINT, mean DOUBLE, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busy', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sites (site STRING, devices BIGINT, readings BIGINT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE ranged (d STRING, s STRING, n BIGINT, most INT, PRIMARY KEY (d, s) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'ranged', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO per_device SELECT t.device_id, l.readings, l.total, t.least FROM devices AS t LEFT JOIN LATERAL (SELECT COUNT(*) AS readings, SUM(n) AS total FROM readings AS r WHERE r.device_id = t.device_id AND n < 100) AS l ON TRUE;
INSERT INTO busy SELECT d.device_id, l.* FROM devices AS d JOIN LATERAL (SELECT COUNT(*) + 1, AVG(CAST(n AS DOUBLE)) FROM readings WHERE d.device_id = readings.device_id) AS l (readings, mean) ON l.readings > 2 OR d.site = 'z';
INSERT INTO sites SELECT d.site, COUNT(*), SUM(l.readings) FROM devices AS d, LATERAL (SELECT COUNT(n) AS readings FROM readings WHERE device_id = d.device_id) AS l GROUP BY d.site;
INSERT INTO ranged SELECT d.device_id, l.s, l.n, m.most FROM devices AS d JOIN (SELECT device_id, sensor AS s, COUNT(*) AS n FROM readings GROUP BY device_id, sensor) AS l ON l.device_id = d.device_id CROSS JOIN LATERAL (SELECT MAX(n) AS most FROM readings AS r WHERE r.device_id = l.device_id AND r.sensor = l.s) AS m;
