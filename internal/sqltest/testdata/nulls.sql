CREATE TABLE readings (
  device_id STRING, sensor STRING, v DOUBLE, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (sensor STRING, s TIMESTAMP(3), c BIGINT, cv BIGINT, total DOUBLE, mean DOUBLE, lo DOUBLE, hi DOUBLE, f DOUBLE, l DOUBLE, d BIGINT, sd DOUBLE, sp DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
INSERT INTO results SELECT sensor, window_start, COUNT(*), COUNT(v), SUM(v), AVG(v), MIN(v), MAX(v), FIRST_VALUE(v), LAST_VALUE(v), COUNT(DISTINCT v), STDDEV_SAMP(v), STDDEV_POP(v)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY sensor, window_start, window_end;
