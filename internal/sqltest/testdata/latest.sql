CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE results (device_id STRING, sensor STRING, `value` DOUBLE, ts TIMESTAMP_LTZ(3), PRIMARY KEY (device_id, sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'results', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO results SELECT device_id, sensor, `value`, ts FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id, sensor ORDER BY ts DESC) AS rn FROM readings) WHERE rn = 1;
