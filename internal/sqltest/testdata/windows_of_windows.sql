CREATE TABLE readings (
  device_id STRING, sensor STRING, v DOUBLE, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (s TIMESTAMP(3), c BIGINT, most BIGINT) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
CREATE TABLE top (s TIMESTAMP(3), device_id STRING, total DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'top', 'value.format' = 'json');
CREATE VIEW small AS SELECT device_id, window_start AS ws, window_end AS we, window_time AS rt, COUNT(*) AS c, SUM(v) AS total FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end, window_time;
INSERT INTO results SELECT window_start, SUM(c), MAX(c) FROM TABLE(TUMBLE(TABLE small, DESCRIPTOR(rt), INTERVAL '30' SECOND)) GROUP BY window_start, window_end;
INSERT INTO top SELECT ws, device_id, total FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY ws, we ORDER BY total DESC, device_id) AS rn FROM small) WHERE rn <= 1;
