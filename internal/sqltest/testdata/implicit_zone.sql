-- Implicit conversion between TIMESTAMP and TIMESTAMP_LTZ, in the session's time zone.
SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE TABLE readings (id STRING, plain TIMESTAMP(3), ts TIMESTAMP_LTZ(3), day_ DATE, WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE instants (id STRING, i TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'instants', 'format' = 'json');
CREATE TABLE days_ (id STRING, i TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'days_', 'format' = 'json');
CREATE TABLE walls (id STRING, w TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'walls', 'format' = 'json');
CREATE TABLE starts (id STRING, i TIMESTAMP_LTZ(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'starts', 'format' = 'json');
CREATE TABLE both_ (t TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'both_', 'format' = 'json');
CREATE TABLE both_turned (t TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'both_turned', 'format' = 'json');
CREATE TABLE first_ones (id STRING, a TIMESTAMP_LTZ(3), b TIMESTAMP_LTZ(3), c TIMESTAMP_LTZ(3), d BOOLEAN, e BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'first_ones', 'format' = 'json');
CREATE TABLE compared (id STRING, later BOOLEAN, e BOOLEAN, c STRING) WITH ('connector' = 'kafka', 'topic' = 'compared', 'format' = 'json');
INSERT INTO instants SELECT id, plain FROM readings;
INSERT INTO days_ SELECT id, CAST(day_ AS TIMESTAMP_LTZ(3)) FROM readings;
INSERT INTO walls SELECT id, ts FROM readings;
INSERT INTO starts SELECT id, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY id, window_start, window_end;
INSERT INTO both_ SELECT plain FROM readings UNION ALL SELECT ts FROM readings;
INSERT INTO compared SELECT id, ts > plain, ts = plain, CAST(COALESCE(ts, plain) AS STRING) FROM readings;
INSERT INTO both_turned SELECT ts FROM readings UNION ALL SELECT plain FROM readings;
INSERT INTO first_ones SELECT id, COALESCE(ts, plain), COALESCE(plain, ts), CASE WHEN id = 'x' THEN plain ELSE ts END, ts IN (plain), ts BETWEEN plain AND plain FROM readings;
