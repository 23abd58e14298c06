CREATE TABLE events (kind INT,
  reading ROW<device STRING, `at` TIMESTAMP(3), point ROW<x INT, y INT, note STRING>, samples ARRAY<INT>, `comment` STRING>,
  alarm ROW<device STRING, `at` TIMESTAMP(3), level INT, `comment` STRING>,
  ts AS CASE WHEN kind = 0 THEN reading.`at` ELSE alarm.`at` END,
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'events', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE points (device STRING, x INT, later INT) WITH ('connector' = 'kafka', 'topic' = 'points', 'format' = 'json');
CREATE TABLE present (kind INT, has_reading BOOLEAN, has_point BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'present', 'format' = 'json');
CREATE TABLE sums (device STRING, ends TIMESTAMP(3), x INT) WITH ('connector' = 'kafka', 'topic' = 'sums', 'format' = 'json');
CREATE TABLE samples (device STRING, s INT) WITH ('connector' = 'kafka', 'topic' = 'samples', 'format' = 'json');
CREATE TABLE comments (device STRING, missing BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'comments', 'format' = 'json');
CREATE TABLE chosen (x INT) WITH ('connector' = 'kafka', 'topic' = 'chosen', 'format' = 'json');
CREATE VIEW place AS SELECT reading.device AS device, reading.point AS point, ts FROM events WHERE kind = 0;
INSERT INTO points SELECT device, point.x, point.y + 1 FROM place WHERE point.x > 0;
INSERT INTO present SELECT kind, reading IS NOT NULL, reading.point IS NOT NULL FROM events;
INSERT INTO sums SELECT reading.device, window_end, SUM(reading.point.x) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE kind = 0 GROUP BY reading.device, window_start, window_end;
INSERT INTO samples SELECT e.reading.device, t.s FROM events e CROSS JOIN UNNEST(e.reading.samples) AS t (s) WHERE e.kind = 0;
INSERT INTO comments SELECT v.device, v.`comment` IS NULL FROM (SELECT reading AS v FROM events WHERE kind = 0);
INSERT INTO chosen SELECT c.p.x FROM (SELECT CASE WHEN kind = 0 THEN reading.point END AS p FROM events) c WHERE c.p.y IS NOT NULL;
