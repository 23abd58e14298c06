-- Setpoint against measurement: each reading in the five seconds after a new setpoint, with its deviation.
-- The topic setpoints must exist, keyed by device_id, with as many partitions as sensor_data_tx.

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

CREATE TABLE setpoints (
  device_id STRING,
  sensor STRING,
  target DOUBLE,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'setpoints',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE setpoint_deviation (
  device_id STRING,
  sensor STRING,
  target DOUBLE,
  `value` DOUBLE,
  deviation DOUBLE,
  set_at TIMESTAMP_LTZ(3),
  ts TIMESTAMP_LTZ(3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'setpoint_deviation',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'setpoint_deviation'
);

INSERT INTO setpoint_deviation
SELECT s.device_id, s.sensor, s.target, r.`value`, r.`value` - s.target, CAST(s.ts AS TIMESTAMP_LTZ(3)), r.ts
FROM setpoints AS s
JOIN readings AS r
  ON s.device_id = r.device_id AND s.sensor = r.sensor
  AND r.ts BETWEEN s.ts AND s.ts + INTERVAL '5' SECOND;
