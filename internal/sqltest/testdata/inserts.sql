CREATE TABLE readings (
  device_id STRING, sensor STRING, v DOUBLE, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE hot (device_id STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'hot', 'value.format' = 'json');
CREATE TABLE cold (device_id STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'cold', 'value.format' = 'json');
CREATE TABLE counts (sensor STRING, c BIGINT, most INT, PRIMARY KEY (sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'json', 'value.format' = 'json');
EXECUTE STATEMENT SET
BEGIN
INSERT INTO hot SELECT device_id, v FROM readings WHERE v > 20;
INSERT INTO cold SELECT device_id, n FROM readings WHERE v <= 20;
INSERT INTO counts SELECT sensor, COUNT(*), MAX(n) FROM readings WHERE sensor IS NOT NULL GROUP BY sensor;
END;
