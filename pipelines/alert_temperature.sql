-- Overheated devices: one alert for each, while its newest temperature is above 30.
-- Each row is a firing alert; deleting the row resolves it: weir run alert_temperature --alerts alerts.yaml.

CREATE TABLE readings (
  device_id STRING NOT NULL,
  sensor STRING NOT NULL,
  `value` DOUBLE NOT NULL,
  ts TIMESTAMP_LTZ(3) NOT NULL
) WITH (
  'connector' = 'kafka',
  'topic' = 'sensor_data_tx',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE alert_temperature (
  device_id STRING,
  severity STRING,
  summary STRING,
  `value` DOUBLE,
  ts TIMESTAMP_LTZ(3),
  PRIMARY KEY (device_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'alert_temperature',
  'key.format' = 'json',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'alert_temperature'
);

INSERT INTO alert_temperature
SELECT
  device_id,
  CASE WHEN `value` > 40 THEN 'critical' ELSE 'warning' END,
  device_id || ' is at ' || CAST(`value` AS STRING) || ' °C',
  `value`,
  ts
FROM (
  SELECT device_id, LAST_VALUE(`value`) AS `value`, LAST_VALUE(ts) AS ts
  FROM readings
  WHERE sensor = 'temperature'
  GROUP BY device_id
)
WHERE `value` > 30;
