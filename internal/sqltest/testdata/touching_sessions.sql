-- Sessions over rows that an operator emits in several transactions: rows that touch extend a session,
-- whichever of them come first.
CREATE TABLE a (k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' HOUR) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','topic'='a','format'='json');
CREATE TABLE b (k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' HOUR) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','topic'='b','format'='json');
CREATE TABLE sorted (s TIMESTAMP(3), n BIGINT) WITH ('connector'='kafka','topic'='sorted','format'='json');
CREATE TABLE matched (s TIMESTAMP(3), n BIGINT) WITH ('connector'='kafka','topic'='matched','format'='json');
CREATE TABLE windowed (s TIMESTAMP(3), n BIGINT) WITH ('connector'='kafka','topic'='windowed','format'='json');

CREATE VIEW in_order AS SELECT k, ts FROM a ORDER BY ts, k;
INSERT INTO sorted SELECT window_start, COUNT(*) FROM TABLE(SESSION(TABLE in_order, DESCRIPTOR(ts), INTERVAL '30' MINUTE)) GROUP BY window_start, window_end;

CREATE VIEW pairs AS SELECT a.k, a.ts FROM a LEFT JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '5' MINUTE;
INSERT INTO matched SELECT window_start, COUNT(*) FROM TABLE(SESSION(TABLE pairs, DESCRIPTOR(ts), INTERVAL '30' MINUTE)) GROUP BY window_start, window_end;

CREATE VIEW in_windows AS
SELECT l.k, l.window_time AS ts
FROM (SELECT * FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '30' MINUTE))) l
LEFT JOIN (SELECT * FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(ts), INTERVAL '30' MINUTE))) r
ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end;
INSERT INTO windowed SELECT window_start, COUNT(*) FROM TABLE(SESSION(TABLE in_windows, DESCRIPTOR(ts), INTERVAL '30' MINUTE)) GROUP BY window_start, window_end;
