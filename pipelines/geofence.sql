-- Devices that enter or leave an area: a row for each crossing of the rectangle in the view located.
-- The topic device_positions must exist, keyed by device_id.

CREATE TABLE device_positions (
  device_id STRING,
  lat DOUBLE,
  lon DOUBLE,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'device_positions',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE geofence (
  device_id STRING,
  crossing STRING,
  lat DOUBLE,
  lon DOUBLE,
  ts TIMESTAMP_LTZ(3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'geofence',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'geofence'
);

CREATE VIEW located AS
SELECT device_id, lat, lon, ts, lat BETWEEN 47.55 AND 47.59 AND lon BETWEEN 7.57 AND 7.63 AS inside
FROM device_positions
WHERE lat IS NOT NULL AND lon IS NOT NULL;

INSERT INTO geofence
SELECT device_id, CASE WHEN inside THEN 'enter' ELSE 'leave' END, lat, lon, ts
FROM (
  SELECT *, LAG(inside) OVER (PARTITION BY device_id ORDER BY ts) AS was_inside
  FROM located
)
WHERE inside <> was_inside OR was_inside IS NULL AND inside;
