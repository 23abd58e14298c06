-- Windows that share slices, over several partitions: a row counts in exactly the windows for which it is not late in its own partition.
CREATE TABLE readings (device_id STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE hops (d STRING, s TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'hops', 'format' = 'json');
CREATE TABLE distinct_hops (d STRING, s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'distinct_hops', 'format' = 'json');
CREATE TABLE steps (e TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'steps', 'format' = 'json');
INSERT INTO hops SELECT device_id, window_start, COUNT(*), SUM(n)
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO distinct_hops SELECT device_id, window_start, COUNT(DISTINCT n)
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO steps SELECT window_end, COUNT(*), SUM(n)
FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '2' MINUTE)) GROUP BY window_start, window_end;
