-- The repeated hour in two partitions: windows stay open until it has passed for the second time.
SET 'table.local-time-zone' = 'America/Los_Angeles';
CREATE TABLE a (id STRING, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json', 'topic' = 'a', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE hours (ws TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hours', 'format' = 'json');
CREATE TABLE quarter_hours (ws TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'quarter_hours', 'format' = 'json');
CREATE TABLE hops (ws TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hops', 'format' = 'json');
CREATE TABLE steps (we TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'steps', 'format' = 'json');
CREATE TABLE days (ws TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'days', 'format' = 'json');
INSERT INTO hours SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
INSERT INTO quarter_hours SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '15' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO hops SELECT window_start, COUNT(*) FROM TABLE(HOP(TABLE a, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '2' HOUR)) GROUP BY window_start, window_end;
INSERT INTO steps SELECT window_end, COUNT(*) FROM TABLE(CUMULATE(TABLE a, DESCRIPTOR(ts), INTERVAL '30' MINUTE, INTERVAL '3' HOUR)) GROUP BY window_start, window_end;
INSERT INTO days SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end;
