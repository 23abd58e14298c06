-- Running statistics per device and sensor: the pipeline of weir up and weir consume.
-- partition and offset locate the newest reading of a result. Invalid readings go to sensor_data_dlq.

SET 'pipeline.name' = 'device-stats';
SET 'weir.dead-letter.topic' = 'sensor_data_dlq';

CREATE TABLE readings (
  device_id STRING NOT NULL,
  sensor STRING NOT NULL,
  `value` DOUBLE NOT NULL,
  ts TIMESTAMP_LTZ(3) NOT NULL,
  seq BIGINT NOT NULL,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL
) WITH (
  'connector' = 'kafka',
  'topic' = 'sensor_data_tx',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE device_stats (
  device_id STRING,
  sensor STRING,
  `count` BIGINT,
  `min` DOUBLE,
  `max` DOUBLE,
  mean DOUBLE,
  `last` DOUBLE,
  last_ts TIMESTAMP_LTZ(3),
  `partition` INT,
  `offset` BIGINT,
  PRIMARY KEY (device_id, sensor) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'device_stats',
  'key.format' = 'json',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'device_stats'
);

-- A failed cast rejects the row and reports the reason.
CREATE VIEW valid AS
SELECT * FROM readings
WHERE CAST(CASE
  WHEN device_id = '' THEN 'device_id is empty'
  WHEN sensor = '' THEN 'sensor is empty'
  WHEN CHAR_LENGTH(device_id) > 64 AND CHAR_LENGTH(HEX(device_id)) > 512 THEN 'device_id is longer than 256 bytes'
  WHEN CHAR_LENGTH(sensor) > 64 AND CHAR_LENGTH(HEX(sensor)) > 512 THEN 'sensor is longer than 256 bytes'
  WHEN REGEXP(device_id, '[\x00-\x1f\x7f-\x9f]') THEN 'device_id has a control character'
  WHEN REGEXP(sensor, '[\x00-\x1f\x7f-\x9f]') THEN 'sensor has a control character'
  WHEN `value` NOT BETWEEN -1.7976931348623157E308 AND 1.7976931348623157E308 THEN 'value is not finite'
  WHEN seq < 0 THEN 'seq is negative'
  ELSE 'true'
END AS BOOLEAN);

INSERT INTO device_stats
SELECT device_id, sensor, COUNT(*), MIN(`value`), MAX(`value`), AVG(`value`), LAST_VALUE(`value`), LAST_VALUE(ts),
  LAST_VALUE(`partition`), LAST_VALUE(`offset`)
FROM valid
GROUP BY device_id, sensor;
