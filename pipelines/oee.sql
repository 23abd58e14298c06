-- OEE, overall equipment effectiveness, per machine and hour: availability (share of the hour that the machine ran),
-- performance (parts made against parts possible in that time), quality (share of good parts), and their product.
-- The topics machine_minutes (one record per machine and minute) and parts (one per part made) must exist, keyed by
-- machine, with equal numbers of partitions.

CREATE TABLE machine_minutes (
  machine STRING,
  running_seconds INT,
  ideal_parts_per_minute DOUBLE,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'machine_minutes',
  'key.format' = 'raw',
  'key.fields' = 'machine',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE parts (
  machine STRING,
  good BOOLEAN,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'parts',
  'key.format' = 'raw',
  'key.fields' = 'machine',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE oee (
  machine STRING,
  hour_start TIMESTAMP(3),
  availability DOUBLE,
  performance DOUBLE,
  quality DOUBLE,
  oee DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'oee',
  'key.format' = 'raw',
  'key.fields' = 'machine',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'oee'
);

CREATE VIEW ran AS
SELECT machine, window_start, window_end,
  SUM(CAST(running_seconds AS DOUBLE)) / 3600 AS availability,
  SUM(CAST(running_seconds AS DOUBLE) / 60 * ideal_parts_per_minute) AS possible
FROM TABLE(TUMBLE(TABLE machine_minutes, DESCRIPTOR(ts), INTERVAL '1' HOUR))
GROUP BY machine, window_start, window_end;

CREATE VIEW made AS
SELECT machine, window_start, window_end, COUNT(*) AS total, COUNT(*) FILTER (WHERE good) AS good
FROM TABLE(TUMBLE(TABLE parts, DESCRIPTOR(ts), INTERVAL '1' HOUR))
GROUP BY machine, window_start, window_end;

CREATE VIEW factors AS
SELECT r.machine, r.window_start AS hour_start, r.availability,
  COALESCE(CAST(m.total AS DOUBLE) / NULLIF(r.possible, 0), 0) AS performance,
  COALESCE(CAST(m.good AS DOUBLE) / m.total, 0) AS quality
FROM ran AS r
LEFT JOIN made AS m
  ON r.machine = m.machine AND r.window_start = m.window_start AND r.window_end = m.window_end;

INSERT INTO oee
SELECT machine, hour_start, availability, performance, quality, availability * performance * quality
FROM factors;
