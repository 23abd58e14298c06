CREATE TABLE readings (
  device_id STRING, sensor STRING, v DOUBLE, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (level STRING, h BIGINT, c BIGINT, hi DOUBLE, PRIMARY KEY (level, h) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'results', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO results SELECT level, h, COUNT(*), MAX(v)
FROM (SELECT COALESCE(CASE WHEN v > 30 THEN 'hot' WHEN v > 10 THEN 'warm' WHEN v IS NOT NULL THEN 'cold' END, 'none') AS level, EXTRACT(HOUR FROM ts) AS h, v FROM readings)
GROUP BY level, h;
