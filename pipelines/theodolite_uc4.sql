-- Theodolite UC4, hierarchical aggregation: the total of each group of sensors per minute, from the mean of each
-- sensor, and of each group of groups. A sensor belongs to a group from the time of its record on.
-- The topic sensor_groups must exist, with one record per sensor, keyed by sensor.

CREATE TABLE readings (
  device_id STRING,
  sensor STRING,
  `value` DOUBLE,
  unit STRING,
  ts TIMESTAMP_LTZ(3),
  seq BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'sensor_data_tx',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE sensor_groups (
  sensor STRING,
  group_ STRING,
  parent STRING,
  changed_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  WATERMARK FOR changed_at AS changed_at,
  PRIMARY KEY (sensor) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'sensor_groups',
  'key.format' = 'raw',
  'value.format' = 'json',
  'scan.watermark.idle-timeout' = '10 s'
);

CREATE TABLE uc4_groups (
  level INT,
  group_ STRING,
  window_start TIMESTAMP(3),
  sensors BIGINT,
  total DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'uc4_groups',
  'key.format' = 'raw',
  'key.fields' = 'group_',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'uc4_groups'
);

CREATE VIEW grouped AS
SELECT r.sensor, g.group_, g.parent, r.`value`, r.ts
FROM readings AS r
JOIN sensor_groups FOR SYSTEM_TIME AS OF r.ts AS g ON r.sensor = g.sensor;

CREATE VIEW means AS
SELECT sensor, group_, parent, AVG(`value`) AS mean, window_start, window_end, window_time
FROM TABLE(TUMBLE(TABLE grouped, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY sensor, group_, parent, window_start, window_end, window_time;

INSERT INTO uc4_groups
SELECT 1, group_, window_start, COUNT(*), SUM(mean) FROM means GROUP BY group_, window_start, window_end;

INSERT INTO uc4_groups
SELECT 2, parent, window_start, COUNT(*), SUM(mean) FROM means WHERE parent IS NOT NULL GROUP BY parent, window_start, window_end;
