CREATE TABLE readings (
  device_id STRING, sensor STRING, `value` DOUBLE, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE hops (device_id STRING, e TIMESTAMP(3), sensors BIGINT, first_n INT, last_n INT) WITH ('connector' = 'kafka', 'topic' = 'hops', 'value.format' = 'json');
CREATE TABLE older_hops (device_id STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, d DOUBLE, sd INT) WITH ('connector' = 'kafka', 'topic' = 'older_hops', 'value.format' = 'json');
CREATE TABLE older_sessions (device_id STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'older_sessions', 'value.format' = 'json');
CREATE TABLE all_of (c BIGINT, total DOUBLE, `one` INT, PRIMARY KEY (`one`) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'all_of', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE expanded (device_id STRING, e TIMESTAMP(3), n INT) WITH ('connector' = 'kafka', 'topic' = 'expanded', 'value.format' = 'json');
CREATE TABLE text (line STRING) WITH ('connector' = 'kafka', 'topic' = 'text', 'value.format' = 'raw');
CREATE TABLE parsed (id INT, kind STRING, words INT) WITH ('connector' = 'kafka', 'topic' = 'parsed', 'key.format' = 'json', 'key.fields' = 'id;kind', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE both_kinds (name STRING, PRIMARY KEY (name) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'both_kinds', 'key.format' = 'raw', 'value.format' = 'json');
CREATE VIEW two AS SELECT device_id, `value`, ts FROM readings WHERE sensor = 't' UNION ALL SELECT device_id, `value` * 2, ts FROM readings WHERE sensor = 'h';
CREATE TABLE of_two (device_id STRING, s TIMESTAMP(3), total DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'of_two', 'value.format' = 'json');
CREATE TABLE money (device_id STRING, s TIMESTAMP(3), total DECIMAL(38, 2), mean DECIMAL(38, 6)) WITH ('connector' = 'kafka', 'topic' = 'money', 'value.format' = 'json');

INSERT INTO hops SELECT device_id, window_end, COUNT(DISTINCT sensor), FIRST_VALUE(n), LAST_VALUE(n)
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY device_id, window_start, window_end;
-- the legacy form allows a slide that does not divide the size
INSERT INTO older_hops SELECT device_id, HOP_START(ts, INTERVAL '15' SECOND, INTERVAL '20' SECOND), HOP_END(ts, INTERVAL '15' SECOND, INTERVAL '20' SECOND), COUNT(*), VAR_POP(`value`), STDDEV_POP(n)
FROM readings GROUP BY HOP(ts, INTERVAL '15' SECOND, INTERVAL '20' SECOND), device_id;
INSERT INTO older_sessions SELECT device_id, SESSION_START(ts, INTERVAL '5' SECOND), SESSION_END(ts, INTERVAL '5' SECOND), COUNT(*) FROM readings GROUP BY device_id, SESSION(ts, INTERVAL '5' SECOND);
INSERT INTO all_of SELECT COUNT(*), SUM(`value`), 1 FROM readings;
INSERT INTO expanded SELECT device_id, window_end, n FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) WHERE n = 1;
INSERT INTO parsed SELECT JSON_VALUE(line, '$.id' RETURNING INT), COALESCE(UPPER(JSON_VALUE(line, '$.kind')), 'NONE'), CHAR_LENGTH(REGEXP_REPLACE(line, '[^ ]', '')) + 1 FROM text WHERE line IS JSON OBJECT;
INSERT INTO both_kinds SELECT device_id FROM readings UNION SELECT sensor FROM readings;
INSERT INTO of_two SELECT device_id, window_start, SUM(`value`) FROM TABLE(TUMBLE(TABLE two, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end;
INSERT INTO money SELECT device_id, window_start, SUM(CAST(`value` AS DECIMAL(10, 2))), AVG(CAST(`value` AS DECIMAL(10, 2))) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device_id, window_start, window_end;
