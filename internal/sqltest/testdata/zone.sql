CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE TABLE results (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
CREATE TABLE copies (at_ TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', headers MAP<STRING, BYTES> METADATA, device_id STRING, tag BIGINT)
WITH ('connector' = 'kafka', 'topic' = 'copies', 'value.format' = 'json');
CREATE TABLE back (at_ TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', p INT METADATA FROM 'partition' VIRTUAL, o BIGINT METADATA FROM 'offset' VIRTUAL, headers MAP<STRING, BYTES> METADATA, device_id STRING, twice AS CHAR_LENGTH(device_id) * 2)
WITH ('connector' = 'kafka', 'topic' = 'copies', 'value.format' = 'json');
CREATE TABLE seen (device_id STRING, at_ TIMESTAMP_LTZ(3), h STRING, twice INT) WITH ('connector' = 'kafka', 'topic' = 'seen', 'value.format' = 'json');
INSERT INTO results SELECT window_start, window_end, window_time, COUNT(*)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end, window_time;
INSERT INTO copies SELECT ts, MAP['who', ENCODE(device_id, 'UTF-8')], device_id, n FROM readings;
INSERT INTO seen SELECT device_id, at_, DECODE(headers['who'], 'UTF-8'), twice FROM back;
