-- Messages that were sent again count once, and frames by PROCTIME() hold no watermark back: windows by event time follow.
CREATE TABLE messages (id STRING, v INT, ts TIMESTAMP_LTZ(3), arrived AS PROCTIME(), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'messages', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE counts (s TIMESTAMP(3), c BIGINT, total BIGINT) WITH ('connector' = 'kafka', 'topic' = 'counts', 'format' = 'json');
CREATE TABLE framed (s TIMESTAMP(3), c BIGINT, most BIGINT) WITH ('connector' = 'kafka', 'topic' = 'framed', 'format' = 'json');
CREATE TABLE newest (id STRING, v INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'newest', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO counts SELECT window_start, COUNT(*), SUM(v) FROM TABLE(TUMBLE((SELECT id, v, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY arrived) AS rn FROM messages) WHERE rn = 1), DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;
INSERT INTO framed SELECT window_start, COUNT(*), MAX(same) FROM TABLE(TUMBLE((SELECT ts, COUNT(DISTINCT v) OVER (PARTITION BY id ORDER BY arrived RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW) AS same FROM messages), DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;
INSERT INTO newest SELECT id, v FROM messages QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY arrived DESC) = 1;
