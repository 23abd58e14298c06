-- The time of an upsert table is in its value: a tombstone has none, and deletes its row all the
-- same.
CREATE TABLE devices (device_id STRING, site STRING, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'raw', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE sites (site STRING, devices BIGINT, latest TIMESTAMP(3), PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sites', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO sites SELECT site, COUNT(*), CAST(MAX(ts) AS TIMESTAMP(3)) FROM devices GROUP BY site;
