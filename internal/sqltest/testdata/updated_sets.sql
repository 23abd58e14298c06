-- UNION, INTERSECT and EXCEPT of rows that are updated.
CREATE TABLE devices (device_id STRING, site STRING, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE spares (device_id STRING, site STRING, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'spares', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE alarms (device_id STRING, level INT) WITH ('connector' = 'kafka', 'topic' = 'alarms', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE all_of_both (site STRING, device_id STRING, PRIMARY KEY (site, device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'all_of_both', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE per_site (site STRING, c BIGINT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'per_site', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sites (site STRING, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE quiet (device_id STRING, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'quiet', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE common_sites (site STRING, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'common_sites', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO all_of_both SELECT site, device_id FROM devices UNION ALL SELECT site, device_id FROM spares;
INSERT INTO per_site SELECT site, COUNT(*) FROM (SELECT site FROM devices UNION ALL SELECT site FROM spares) GROUP BY site;
INSERT INTO sites SELECT site FROM devices UNION SELECT site FROM spares;
INSERT INTO quiet SELECT device_id FROM devices EXCEPT SELECT device_id FROM alarms;
INSERT INTO common_sites SELECT site FROM devices INTERSECT SELECT site FROM spares;
