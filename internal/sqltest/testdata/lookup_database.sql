-- Readings with the metadata of their devices, which a database has.
CREATE TABLE readings (
  device_id STRING, site STRING, `value` DOUBLE, ts TIMESTAMP_LTZ(3), proc_time AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json');

CREATE TABLE devices (
  id STRING, site STRING, name STRING, lowest DOUBLE, highest DOUBLE, factor DECIMAL(10, 2), installed DATE, active BOOLEAN,
  PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://db/plant', 'table-name' = 'public.devices', 'username' = 'weir', 'password' = '${DB_PASSWORD}',
  'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.expire-after-write' = '1 min');

-- Several rows of a device.
CREATE TABLE contacts (device_id STRING, level INT, mail STRING)
WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://db/plant', 'table-name' = 'contacts', 'username' = 'weir', 'password' = '${DB_PASSWORD}');

CREATE TABLE named (device_id STRING, `value` DOUBLE, name STRING, factor DECIMAL(10, 2), installed DATE)
WITH ('connector' = 'kafka', 'topic' = 'named', 'format' = 'json');
CREATE TABLE out_of_range (device_id STRING, name STRING, mail STRING)
WITH ('connector' = 'kafka', 'topic' = 'out_of_range', 'format' = 'json');
CREATE TABLE per_name (name STRING, window_end TIMESTAMP_LTZ(3), n BIGINT)
WITH ('connector' = 'kafka', 'topic' = 'per_name', 'format' = 'json');

INSERT INTO named
SELECT r.device_id, r.`value`, d.name, d.factor, d.installed
FROM readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.proc_time AS d ON r.device_id = d.id AND r.site = d.site AND d.active;

INSERT INTO out_of_range
SELECT r.device_id, d.name, c.mail
FROM readings AS r
JOIN devices FOR SYSTEM_TIME AS OF r.proc_time AS d ON r.device_id = d.id
JOIN contacts FOR SYSTEM_TIME AS OF r.proc_time AS c ON d.id = c.device_id AND c.level = 1
WHERE r.`value` NOT BETWEEN d.lowest AND d.highest AND r.`value` > -1000;

CREATE VIEW known AS
SELECT d.name, r.ts FROM readings AS r JOIN devices FOR SYSTEM_TIME AS OF r.proc_time AS d ON r.device_id = d.id;
INSERT INTO per_name
SELECT name, window_end, COUNT(*)
FROM TABLE(TUMBLE(TABLE known, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY name, window_start, window_end;
