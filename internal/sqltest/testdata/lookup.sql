CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE devices (
  device_id STRING, site STRING, changed TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR changed AS changed, PRIMARY KEY (device_id) NOT ENFORCED
) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE results (device_id STRING, site STRING, `value` DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
INSERT INTO results SELECT r.device_id, d.site, r.`value`
FROM readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device_id = d.device_id;
