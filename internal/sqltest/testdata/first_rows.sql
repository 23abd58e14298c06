CREATE TABLE readings (
  device_id STRING, sensor STRING, v DOUBLE, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE first_of (device_id STRING, n INT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'first_of', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE last_of (device_id STRING, n INT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'last_of', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO first_of SELECT device_id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts ASC) AS rn FROM readings) WHERE rn = 1;
INSERT INTO last_of SELECT device_id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM readings) WHERE rn = 1;
