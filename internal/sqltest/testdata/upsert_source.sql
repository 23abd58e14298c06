-- Queries over an upsert table: each row replaces the previous one with its key, and a tombstone
-- deletes it.
CREATE TABLE devices (device_id STRING, site STRING, n INT, note STRING, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'raw', 'value.format' = 'json');
CREATE VIEW busy AS SELECT device_id, site, n FROM devices WHERE n >= 10;
CREATE TABLE counted (k STRING, devices BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counted', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sites (site STRING, devices BIGINT, total INT, low INT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE known (site STRING, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'known', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE copy (device_id STRING, site STRING, n INT, note STRING, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'copy', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE busy_devices (device_id STRING, site STRING, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busy_devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE busy_sites (site STRING, devices BIGINT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busy_sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sizes (devices BIGINT, sites BIGINT, PRIMARY KEY (devices) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sizes', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO counted SELECT 'all', COUNT(*) FROM devices;
INSERT INTO sites SELECT site, COUNT(*), SUM(n), MIN(n) FROM devices GROUP BY site;
INSERT INTO known SELECT DISTINCT site FROM devices;
INSERT INTO copy SELECT * FROM devices;
INSERT INTO busy_devices SELECT device_id, UPPER(site) FROM busy;
INSERT INTO busy_sites SELECT site, COUNT(*) FROM busy GROUP BY site;
INSERT INTO sizes SELECT c, COUNT(*) FROM (SELECT site, COUNT(*) AS c FROM devices GROUP BY site) GROUP BY c;
