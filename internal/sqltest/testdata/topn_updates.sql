CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE top (sensor STRING, place BIGINT, device_id STRING, `value` DOUBLE, PRIMARY KEY (sensor, place) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'top', 'key.format' = 'json', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE first_seen (sensor STRING, ts TIMESTAMP_LTZ(3), PRIMARY KEY (sensor) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'first_seen', 'key.format' = 'json', 'value.format' = 'json');
-- Top-N with the row number in the key: rows are replaced when a better one arrives
INSERT INTO top SELECT sensor, rn, device_id, `value` FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY sensor ORDER BY `value` DESC) AS rn FROM readings) WHERE rn <= 2 AND sensor <> 'x';
INSERT INTO first_seen SELECT sensor, ts FROM (
  SELECT sensor, ts, ROW_NUMBER() OVER (PARTITION BY sensor ORDER BY ts) AS rn FROM readings) WHERE rn = 1;
