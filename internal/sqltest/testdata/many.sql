CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE results (sensor STRING, e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
CREATE TABLE older (device_id STRING, s TIMESTAMP(3), r TIMESTAMP_LTZ(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'older', 'value.format' = 'json');
CREATE TABLE cool (device_id STRING, f DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'cool', 'value.format' = 'json');
CREATE TABLE kinds (sensor STRING, PRIMARY KEY (sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'kinds', 'key.format' = 'json', 'value.format' = 'json');
CREATE VIEW w AS SELECT device_id, sensor, window_start, window_end, window_time, COUNT(*) AS c
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, sensor, window_start, window_end, window_time;
CREATE VIEW times AS SELECT sensor, c, window_time AS t FROM w;
EXECUTE STATEMENT SET BEGIN
-- windows over windows, through a repartition topic
INSERT INTO results SELECT sensor, window_end, SUM(c)
FROM TABLE(TUMBLE(TABLE times, DESCRIPTOR(t), INTERVAL '1' MINUTE)) GROUP BY sensor, window_start, window_end;
INSERT INTO older SELECT device_id, TUMBLE_START(ts, INTERVAL '30' SECOND), TUMBLE_ROWTIME(ts, INTERVAL '30' SECOND), COUNT(*) FROM readings GROUP BY device_id, TUMBLE(ts, INTERVAL '30' SECOND);
INSERT INTO cool SELECT device_id, `value` * 1.8 + 32 FROM readings WHERE `value` < 10 UNION ALL SELECT device_id, 0 FROM readings WHERE `value` IS NULL;
INSERT INTO kinds SELECT DISTINCT sensor FROM readings WHERE `value` BETWEEN 5 AND 50;
END;
