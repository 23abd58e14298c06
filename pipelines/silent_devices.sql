-- Registered devices that have never sent a reading. A device leaves the table with its first reading, or when it is
-- removed from the registry.
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

CREATE TABLE silent_devices (
  device_id STRING,
  site STRING,
  model STRING,
  PRIMARY KEY (device_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'silent_devices',
  'key.format' = 'json',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'silent_devices'
);

CREATE VIEW heard_of AS
SELECT DISTINCT device_id FROM readings;

INSERT INTO silent_devices
SELECT device_id, site, model
FROM devices AS d
WHERE NOT EXISTS (SELECT 1 FROM heard_of AS h WHERE h.device_id = d.device_id);
