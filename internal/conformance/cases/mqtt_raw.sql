-- Messages that weir ingest keeps as they are (to: mqtt_raw), turned into readings where rules do not suffice.
CREATE TABLE mqtt_raw (
  topic STRING,
  payload STRING,
  ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'mqtt_raw',
  'key.format' = 'raw', 'key.fields' = 'topic', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
  'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE machine_readings (device_id STRING, sensor STRING, `value` DOUBLE, ts TIMESTAMP_LTZ(3)) WITH (
  'connector' = 'kafka', 'topic' = 'machine_readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json'
);
CREATE TABLE machine_minutes (device_id STRING, window_start TIMESTAMP(3), messages BIGINT, hottest DOUBLE) WITH (
  'connector' = 'kafka', 'topic' = 'machine_minutes', 'value.format' = 'json'
);
CREATE VIEW machines AS
  SELECT SPLIT_INDEX(topic, '/', 1) AS device_id, CAST(JSON_VALUE(payload, '$.temp') AS DOUBLE) AS temp, JSON_VALUE(payload, '$.state') AS state, ts
  FROM mqtt_raw WHERE topic LIKE 'factory/%';
INSERT INTO machine_readings
  SELECT device_id, CASE WHEN state = 'error' THEN 'temperature_suspect' ELSE 'temperature' END, temp, ts FROM machines WHERE temp IS NOT NULL;
INSERT INTO machine_minutes
  SELECT device_id, window_start, COUNT(*), MAX(temp)
  FROM TABLE(TUMBLE(TABLE machines, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
  GROUP BY device_id, window_start, window_end;
