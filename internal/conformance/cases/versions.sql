-- Temporal joins with a versioned table: exact times, rows before the first version, NULL in a version.
CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE devices (
  device_id STRING, site STRING, lim DOUBLE, changed TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR changed AS changed, PRIMARY KEY (device_id) NOT ENFORCED
) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'raw', 'value.format' = 'json');
CREATE VIEW enriched AS SELECT r.device_id, r.ts, d.site FROM readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device_id = d.device_id;
CREATE TABLE joined (device_id STRING, v DOUBLE, site STRING, since TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'joined', 'value.format' = 'json');
CREATE TABLE left_joined (device_id STRING, v DOUBLE, site STRING) WITH ('connector' = 'kafka', 'topic' = 'left_joined', 'value.format' = 'json');
CREATE TABLE above (device_id STRING, v DOUBLE, lim DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'above', 'value.format' = 'json');
CREATE TABLE per_site (site STRING, e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'per_site', 'value.format' = 'json');
INSERT INTO joined
SELECT r.device_id, r.`value`, d.site, d.changed FROM readings AS r JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device_id = d.device_id;
INSERT INTO left_joined
SELECT r.device_id, r.`value`, d.site FROM readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device_id = d.device_id;
INSERT INTO above
SELECT r.device_id, r.`value`, d.lim FROM readings AS r JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device_id = d.device_id WHERE r.`value` > d.lim;
INSERT INTO per_site
SELECT site, window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE enriched, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY site, window_start, window_end;
