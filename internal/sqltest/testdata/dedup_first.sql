-- Deduplication that keeps the first row by event time. Its output is append-only, so it can be written to any sink and used in windows.
CREATE TABLE readings (device_id STRING, seq INT, `value` DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE VIEW once AS SELECT device_id, seq, `value`, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id, seq ORDER BY ts ASC) AS rn FROM readings) WHERE rn = 1;
CREATE TABLE clean (device_id STRING, seq INT, `value` DOUBLE, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'clean', 'format' = 'json');
CREATE TABLE per_minute (device_id STRING, since TIMESTAMP(3), readings BIGINT, total DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'per_minute', 'format' = 'json');
CREATE TABLE seen (seq INT, n BIGINT, PRIMARY KEY (seq) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'seen', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO clean SELECT * FROM once WHERE `value` > 0;
INSERT INTO per_minute SELECT device_id, window_start, COUNT(*), SUM(`value`) FROM TABLE(TUMBLE(TABLE once, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end;
INSERT INTO seen SELECT seq, COUNT(*) FROM once GROUP BY seq;
