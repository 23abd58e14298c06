-- Alarms with the reading that caused them: the last one above the alarm's limit in the ten seconds before. An alarm
-- without such a reading has none.
-- The topic alarms must exist, keyed by device_id, with as many partitions as sensor_data_tx.

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
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE alarms (
  alarm_id STRING,
  device_id STRING,
  sensor STRING,
  limit_ DOUBLE,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'alarms',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE alarm_causes (
  device_id STRING,
  alarm_id STRING,
  raised_at TIMESTAMP_LTZ(3),
  sensor STRING,
  limit_ DOUBLE,
  `value` DOUBLE,
  measured_at TIMESTAMP_LTZ(3),
  PRIMARY KEY (device_id, alarm_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'alarm_causes',
  'key.format' = 'json',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'alarm_causes'
);

CREATE VIEW candidates AS
SELECT a.device_id, a.alarm_id, CAST(a.ts AS TIMESTAMP_LTZ(3)) AS raised_at, a.sensor, a.limit_, r.`value`, CAST(r.ts AS TIMESTAMP_LTZ(3)) AS measured_at
FROM alarms AS a
LEFT JOIN readings AS r
  ON a.device_id = r.device_id AND a.sensor = r.sensor AND r.`value` > a.limit_
  AND r.ts BETWEEN a.ts - INTERVAL '10' SECOND AND a.ts;

INSERT INTO alarm_causes
SELECT device_id, alarm_id, raised_at, sensor, limit_, `value`, measured_at
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id, alarm_id ORDER BY measured_at DESC, `value` DESC) AS place FROM candidates)
WHERE place = 1;
