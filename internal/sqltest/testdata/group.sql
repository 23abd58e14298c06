CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE results (sensor STRING, c BIGINT, total INT, devices BIGINT, mean DOUBLE, PRIMARY KEY (sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'results', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO results SELECT sensor, COUNT(*), SUM(n), COUNT(DISTINCT device_id), AVG(`value`) FROM readings GROUP BY sensor HAVING SUM(n) < 100;
