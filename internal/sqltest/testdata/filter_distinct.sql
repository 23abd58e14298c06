CREATE TABLE readings (
  device_id STRING, sensor STRING, v DOUBLE, n INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (s TIMESTAMP(3), d BIGINT, df BIGINT, sd INT, sf INT, cf BIGINT, nothing INT, most INT) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
INSERT INTO results SELECT window_start, COUNT(DISTINCT n), COUNT(DISTINCT n) FILTER (WHERE sensor = 't'), SUM(DISTINCT n), SUM(n) FILTER (WHERE n > 1),
  COUNT(n) FILTER (WHERE sensor = 'h'), SUM(n) FILTER (WHERE sensor = 'none'), MAX(n) FILTER (WHERE v IS NULL)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;
