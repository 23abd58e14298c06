-- No input.
CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE e_tumble (d STRING, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'e_tumble', 'value.format' = 'json');
CREATE TABLE e_group (d STRING, c BIGINT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'e_group', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE e_all (k INT, c BIGINT, s DOUBLE, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'e_all', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE e_rank (d STRING, v DOUBLE, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'e_rank', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE e_rows (d STRING) WITH ('connector' = 'kafka', 'topic' = 'e_rows', 'value.format' = 'json');
INSERT INTO e_tumble
SELECT device_id, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO e_group
SELECT device_id, COUNT(*) FROM readings GROUP BY device_id;
INSERT INTO e_all
SELECT 1, COUNT(*), SUM(`value`) FROM readings;
INSERT INTO e_rank
SELECT device_id, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM readings) WHERE rn = 1;
INSERT INTO e_rows
SELECT device_id FROM readings;
