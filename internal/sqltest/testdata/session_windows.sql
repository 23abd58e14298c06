-- Sessions of the results of windows: a result at exactly the end of a session belongs to it, also
-- if the watermark stops just before it in between.
CREATE TABLE t1 (
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 't1',
  'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset'
);
CREATE VIEW w AS
SELECT window_time AS wt, COUNT(*) AS n
FROM TABLE(CUMULATE(TABLE t1, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' SECOND))
GROUP BY window_start, window_end, window_time;
CREATE TABLE o1 (
  window_start TIMESTAMP(3),
  window_end TIMESTAMP(3),
  n BIGINT,
  results BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'o1',
  'format' = 'json'
);
INSERT INTO o1
SELECT window_start, window_end, n, COUNT(*)
FROM TABLE(SESSION(TABLE w PARTITION BY (n), DESCRIPTOR(wt), INTERVAL '2' SECOND))
GROUP BY n, window_start, window_end;
-- Sessions have a rowtime of their own, behind which the watermark stays.
CREATE VIEW s AS
SELECT window_time AS st, n
FROM TABLE(SESSION(TABLE w PARTITION BY (n), DESCRIPTOR(wt), INTERVAL '2' SECOND))
GROUP BY n, window_start, window_end, window_time;
CREATE TABLE o2 (
  window_start TIMESTAMP(3),
  sessions BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'o2',
  'format' = 'json'
);
INSERT INTO o2
SELECT window_start, COUNT(*)
FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(st), INTERVAL '1' SECOND))
GROUP BY window_start, window_end;
