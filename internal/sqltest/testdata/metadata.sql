CREATE TABLE events (k STRING, at_ms BIGINT, n INT, stamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', top STRING METADATA FROM 'topic' VIRTUAL,
  ts AS TO_TIMESTAMP_LTZ(at_ms, 3), even AS MOD(n, 2) = 0, WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = 'events', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (k STRING, even BOOLEAN, top STRING, s TIMESTAMP(3), c BIGINT, stamped TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
INSERT INTO results SELECT k, even, top, window_start, COUNT(*), MAX(stamp) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY k, even, top, window_start, window_end;
