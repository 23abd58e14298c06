-- Sessions over several partitions, one of them ahead of the others. The source declares no key: a device can be in any partition.
CREATE TABLE readings (device_id STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'results', 'format' = 'json');
INSERT INTO results SELECT device_id, window_start, window_end, COUNT(*), SUM(n)
FROM TABLE(SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
