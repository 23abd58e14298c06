{{template "tables.sql" .}}
CREATE TABLE highest (
  device_id STRING,
  place BIGINT,
  `value` BIGINT,
  PRIMARY KEY (device_id, place) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'key.format' = 'json',
{{- template "sink.sql" . -}}
);

INSERT INTO highest
SELECT device_id, place, `value`
FROM (
  SELECT device_id, `value`, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY `value` DESC) AS place
  FROM readings
)
WHERE place <= 2;
