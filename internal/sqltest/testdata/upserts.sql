-- Queries over upsert tables: updates, tombstones, rows that enter and leave a filter or move between groups.
CREATE TABLE devices (device_id STRING, site STRING, n INT, price DECIMAL(8, 2), x DOUBLE, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE meters (plant STRING, `value` INT, meter BIGINT, seen TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', PRIMARY KEY (meter, plant) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'meters', 'key.format' = 'json', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
CREATE VIEW placed AS SELECT device_id, COALESCE(site, 'nowhere') AS site, n, price, x FROM devices;
CREATE VIEW busy AS SELECT device_id, UPPER(site) AS site, n FROM placed WHERE n >= 10;
CREATE TABLE counted (k STRING, devices BIGINT, with_n BIGINT, total INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counted', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sites (site STRING, devices BIGINT, total INT, prices DECIMAL(38, 2), mean DOUBLE, low INT, high DECIMAL(8, 2), PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE spread (site STRING, ns BIGINT, big BIGINT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'spread', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE known (site STRING, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'known', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE copy (device_id STRING, site STRING, n INT, price DECIMAL(8, 2), x DOUBLE, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'copy', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE busy_devices (device_id STRING, site STRING, n INT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busy_devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE busy_sites (site STRING, devices BIGINT, high INT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busy_sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sizes (devices BIGINT, sites BIGINT, PRIMARY KEY (devices) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sizes', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE plants (plant STRING, meters BIGINT, total INT, PRIMARY KEY (plant) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'plants', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE latest_meters (plant STRING, meter BIGINT, `value` INT, seen TIMESTAMP_LTZ(3), PRIMARY KEY (plant, meter) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'latest_meters', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO counted SELECT 'all', COUNT(*), COUNT(n), SUM(n) FROM devices;
INSERT INTO sites SELECT site, COUNT(*), SUM(n), SUM(price), AVG(x), MIN(n), MAX(price) FROM placed GROUP BY site;
INSERT INTO spread SELECT site, COUNT(DISTINCT n), COUNT(*) FILTER (WHERE n > 5) FROM placed GROUP BY site HAVING COUNT(*) > 1;
INSERT INTO known SELECT DISTINCT site FROM placed;
INSERT INTO copy SELECT * FROM devices;
INSERT INTO busy_devices SELECT device_id, site, n FROM busy;
INSERT INTO busy_sites SELECT site, COUNT(*), MAX(n) FROM busy GROUP BY site;
INSERT INTO sizes SELECT c, COUNT(*) FROM (SELECT site, COUNT(*) AS c FROM placed GROUP BY site) GROUP BY c;
INSERT INTO plants SELECT plant, COUNT(*), SUM(`value`) FROM meters GROUP BY plant;
INSERT INTO latest_meters SELECT plant, meter, `value`, seen FROM meters WHERE `value` > 0;
