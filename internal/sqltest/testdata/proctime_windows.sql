-- Windows over PROCTIME(), which close by the clock, also without a record, and restart where they were after each crash.
CREATE TABLE readings (device_id STRING, n INT, kind STRING, arrived AS PROCTIME())
WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE minutes (device_id STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total BIGINT) WITH ('connector' = 'kafka', 'topic' = 'minutes', 'format' = 'json');
CREATE TABLE hops (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, kinds BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hops', 'format' = 'json');
CREATE TABLE hops_sliced (kind STRING, s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hops_sliced', 'format' = 'json');
CREATE TABLE steps (s TIMESTAMP(3), e TIMESTAMP(3), total BIGINT) WITH ('connector' = 'kafka', 'topic' = 'steps', 'format' = 'json');
CREATE TABLE legacy (device_id STRING, s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'legacy', 'format' = 'json');
CREATE TABLE per_hour (h STRING, c BIGINT, PRIMARY KEY (h) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'per_hour', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO minutes SELECT device_id, window_start, window_end, COUNT(*), SUM(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(arrived), INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end;
INSERT INTO hops SELECT window_start, window_end, COUNT(*), COUNT(DISTINCT kind) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(arrived), INTERVAL '1' MINUTE, INTERVAL '2' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO hops_sliced SELECT kind, window_start, COUNT(*) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(arrived), INTERVAL '1' MINUTE, INTERVAL '2' MINUTE)) WHERE n < 100 GROUP BY kind, window_start, window_end HAVING COUNT(*) > 1;
INSERT INTO steps SELECT window_start, window_end, SUM(n) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(arrived), INTERVAL '1' MINUTE, INTERVAL '3' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO legacy SELECT device_id, TUMBLE_START(arrived, INTERVAL '90' SECOND), COUNT(*) FROM readings GROUP BY device_id, TUMBLE(arrived, INTERVAL '90' SECOND);
INSERT INTO per_hour SELECT SUBSTRING(CAST(s AS STRING), 12, 2), SUM(c) FROM (SELECT window_start AS s, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(arrived), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end) GROUP BY SUBSTRING(CAST(s AS STRING), 12, 2);
