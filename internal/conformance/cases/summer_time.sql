-- Windows in a zone with DST: days of 23 and 25 hours, a skipped hour and a repeated one.
SET 'table.local-time-zone' = 'Europe/Paris';
CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' HOUR
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE days (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, f TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'days', 'value.format' = 'json');
CREATE TABLE hours (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, f TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'hours', 'value.format' = 'json');
CREATE TABLE half_days (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, f TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'half_days', 'value.format' = 'json');
CREATE TABLE quarter_hours (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, f TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'quarter_hours', 'value.format' = 'json');
CREATE TABLE two_days (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, f TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'two_days', 'value.format' = 'json');
CREATE TABLE so_far (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, f TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'so_far', 'value.format' = 'json');
CREATE TABLE visits (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, f TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'visits', 'value.format' = 'json');
CREATE TABLE shifted (s TIMESTAMP(3), e TIMESTAMP(3), t TIMESTAMP_LTZ(3), c BIGINT, f TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'shifted', 'value.format' = 'json');
CREATE TABLE older_days (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'older_days', 'value.format' = 'json');
CREATE TABLE hour_of_day (h BIGINT, c BIGINT, PRIMARY KEY (h) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'hour_of_day', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE day_of (d DATE, c BIGINT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'day_of', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO days
SELECT window_start, window_end, window_time, COUNT(*), MIN(ts) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end, window_time;
INSERT INTO hours
SELECT window_start, window_end, window_time, COUNT(*), MIN(ts) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, window_time;
INSERT INTO half_days
SELECT window_start, window_end, window_time, COUNT(*), MIN(ts) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '12' HOUR)) GROUP BY window_start, window_end, window_time;
INSERT INTO quarter_hours
SELECT window_start, window_end, window_time, COUNT(*), MIN(ts) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '15' MINUTE)) GROUP BY window_start, window_end, window_time;
INSERT INTO two_days
SELECT window_start, window_end, window_time, COUNT(*), MIN(ts) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' DAY, INTERVAL '2' DAY)) GROUP BY window_start, window_end, window_time;
INSERT INTO so_far
SELECT window_start, window_end, window_time, COUNT(*), MIN(ts) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '6' HOUR, INTERVAL '1' DAY)) GROUP BY window_start, window_end, window_time;
INSERT INTO visits
SELECT window_start, window_end, window_time, COUNT(*), MIN(ts) FROM TABLE(SESSION(TABLE readings, DESCRIPTOR(ts), INTERVAL '3' HOUR)) GROUP BY window_start, window_end, window_time;
INSERT INTO shifted
SELECT window_start, window_end, window_time, COUNT(*), MIN(ts) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' DAY, INTERVAL '6' HOUR)) GROUP BY window_start, window_end, window_time;
INSERT INTO older_days
SELECT TUMBLE_START(ts, INTERVAL '1' DAY), TUMBLE_END(ts, INTERVAL '1' DAY), COUNT(*) FROM readings GROUP BY TUMBLE(ts, INTERVAL '1' DAY);
INSERT INTO hour_of_day
SELECT EXTRACT(HOUR FROM ts), COUNT(*) FROM readings GROUP BY EXTRACT(HOUR FROM ts);
INSERT INTO day_of
SELECT CAST(ts AS DATE), COUNT(*) FROM readings GROUP BY CAST(ts AS DATE);
