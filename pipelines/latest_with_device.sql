-- The newest reading per device and sensor, with the device's current site and model. A change of the
-- device changes its rows.
-- The topic devices must exist, with one record per device, keyed by device_id, and as many partitions as sensor_data_tx.

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

CREATE TABLE devices (
  device_id STRING,
  site STRING,
  model STRING,
  PRIMARY KEY (device_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'devices',
  'key.format' = 'raw',
  'value.format' = 'json'
);

CREATE TABLE device_overview (
  device_id STRING,
  sensor STRING,
  site STRING,
  model STRING,
  `value` DOUBLE,
  ts TIMESTAMP_LTZ(3),
  PRIMARY KEY (device_id, sensor) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'device_overview',
  'key.format' = 'json',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'device_overview'
);

INSERT INTO device_overview
SELECT r.device_id, r.sensor, d.site, d.model, r.`value`, r.ts
FROM (
  SELECT *
  FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id, sensor ORDER BY ts DESC) AS place FROM readings)
  WHERE place = 1
) AS r
LEFT JOIN devices AS d ON r.device_id = d.device_id;
