CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE results (device_id STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total DOUBLE, mean DOUBLE, lo DOUBLE, hi DOUBLE, sn INT, first_n INT, last_n INT, hot BIGINT, sensors BIGINT) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
INSERT INTO results
SELECT device_id, window_start, window_end, COUNT(*), SUM(`value`), AVG(`value`), MIN(`value`), MAX(`value`), SUM(n), FIRST_VALUE(n), LAST_VALUE(n),
  COUNT(*) FILTER (WHERE `value` > 20), COUNT(DISTINCT sensor)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY device_id, window_start, window_end;
