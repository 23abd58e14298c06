-- Each reading with its device's site and model as of the reading's time.
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
  changed_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  WATERMARK FOR changed_at AS changed_at,
  PRIMARY KEY (device_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'devices',
  'key.format' = 'raw',
  'value.format' = 'json',
  'scan.watermark.idle-timeout' = '10 s'
);

CREATE TABLE readings_enriched (
  device_id STRING,
  site STRING,
  model STRING,
  sensor STRING,
  `value` DOUBLE,
  ts TIMESTAMP_LTZ(3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'readings_enriched',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'readings_enriched'
);

INSERT INTO readings_enriched
SELECT r.device_id, d.site, d.model, r.sensor, r.`value`, r.ts
FROM readings AS r
LEFT JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device_id = d.device_id;
