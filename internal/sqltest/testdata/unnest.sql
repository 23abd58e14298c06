-- Messages with several values each: UNNEST of arrays of rows, of scalars and of maps, and windows over the result.
CREATE TABLE messages (
  device_id STRING, `values` ARRAY<ROW<sensor STRING, `value` DOUBLE>>, tags ARRAY<STRING>, counts MAP<STRING, INT>, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'messages', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE readings (device_id STRING, sensor STRING, `value` DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json');
CREATE TABLE tagged (device_id STRING, tag STRING) WITH ('connector' = 'kafka', 'topic' = 'tagged', 'format' = 'json');
CREATE TABLE counted (device_id STRING, k STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'counted', 'format' = 'json');
CREATE TABLE numbered (device_id STRING, tag STRING, place INT) WITH ('connector' = 'kafka', 'topic' = 'numbered', 'format' = 'json');
CREATE TABLE high (device_id STRING, sensor STRING) WITH ('connector' = 'kafka', 'topic' = 'high', 'format' = 'json');
CREATE TABLE per_minute (sensor STRING, since TIMESTAMP(3), mean DOUBLE, readings BIGINT) WITH ('connector' = 'kafka', 'topic' = 'per_minute', 'format' = 'json');
INSERT INTO readings SELECT device_id, sensor, `value` FROM messages CROSS JOIN UNNEST(`values`);
INSERT INTO tagged SELECT m.device_id, t.tag FROM messages AS m LEFT JOIN UNNEST(m.tags) AS t (tag) ON TRUE;
INSERT INTO counted SELECT device_id, k, v FROM messages, UNNEST(counts) AS c (k, v) WHERE v IS NOT NULL;
INSERT INTO numbered SELECT device_id, tag, place FROM messages CROSS JOIN UNNEST(tags) WITH ORDINALITY AS t (tag, place);
INSERT INTO high SELECT device_id, s FROM messages JOIN UNNEST(`values`) AS x (s, v) ON x.v > 10;
CREATE VIEW flat AS SELECT v.sensor, v.`value`, m.ts FROM messages AS m CROSS JOIN UNNEST(m.`values`) AS v;
INSERT INTO per_minute SELECT sensor, window_start, AVG(`value`), COUNT(*) FROM TABLE(TUMBLE(TABLE flat, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY sensor, window_start, window_end;
