CREATE TABLE readings (
  device_id STRING, sensor STRING, v DOUBLE, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE high (s TIMESTAMP(3), place BIGINT, device_id STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'high', 'value.format' = 'json');
CREATE TABLE low (s TIMESTAMP(3), place BIGINT, device_id STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'low', 'value.format' = 'json');
CREATE VIEW w AS SELECT window_start, window_end, device_id, v FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND));
INSERT INTO high SELECT window_start, rn, device_id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC) AS rn FROM w) WHERE rn <= 3;
INSERT INTO low SELECT window_start, rn, device_id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v ASC, device_id DESC) AS rn FROM w) WHERE rn <= 2;
