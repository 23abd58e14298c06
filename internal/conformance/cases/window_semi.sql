-- Semi and anti joins of windows: IN, EXISTS and their negations, with equal windows.
CREATE TABLE readings (
  device_id STRING, sensor STRING, n INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE alarms (
  device_id STRING, level INT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'alarms', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE in_window (d STRING, n INT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'in_window', 'value.format' = 'json');
CREATE TABLE existing (d STRING, n INT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'existing', 'value.format' = 'json');
CREATE TABLE higher (d STRING, n INT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'higher', 'value.format' = 'json');
CREATE TABLE missing (d STRING, n INT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'missing', 'value.format' = 'json');
CREATE TABLE not_within (d STRING, n INT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'not_within', 'value.format' = 'json');
CREATE TABLE hopping (d STRING, n INT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'hopping', 'value.format' = 'json');
CREATE TABLE cumulating (d STRING, n INT, s TIMESTAMP(3), e TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'cumulating', 'value.format' = 'json');
CREATE TABLE of_groups (d STRING, c BIGINT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'of_groups', 'value.format' = 'json');
CREATE TABLE groups_missing (d STRING, c BIGINT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'groups_missing', 'value.format' = 'json');
CREATE TABLE any_device (d STRING, n INT, s TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'any_device', 'value.format' = 'json');
CREATE TABLE counted (s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'counted', 'value.format' = 'json');
CREATE VIEW r AS SELECT * FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND));
CREATE VIEW a AS SELECT * FROM TABLE(TUMBLE(TABLE alarms, DESCRIPTOR(ts), INTERVAL '10' SECOND));
INSERT INTO in_window
SELECT device_id, n, window_start FROM r WHERE device_id IN (SELECT device_id FROM a WHERE r.window_start = a.window_start AND r.window_end = a.window_end);
INSERT INTO existing
SELECT device_id, n, window_start FROM r WHERE EXISTS (SELECT * FROM a WHERE r.window_start = a.window_start AND r.window_end = a.window_end AND a.device_id = r.device_id);
INSERT INTO higher
SELECT device_id, n, window_start FROM r WHERE n > 0 AND EXISTS (SELECT 1 FROM a WHERE r.window_start = a.window_start AND r.window_end = a.window_end AND a.device_id = r.device_id AND a.level > 2);
INSERT INTO missing
SELECT device_id, n, window_start FROM r WHERE NOT EXISTS (SELECT * FROM a WHERE r.window_start = a.window_start AND r.window_end = a.window_end AND a.device_id = r.device_id);
INSERT INTO not_within
SELECT device_id, n, window_start FROM r WHERE device_id IS NOT NULL AND device_id NOT IN (SELECT device_id FROM a WHERE r.window_start = a.window_start AND r.window_end = a.window_end AND device_id IS NOT NULL);
INSERT INTO hopping
SELECT device_id, n, window_start FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) AS x
WHERE EXISTS (SELECT * FROM TABLE(HOP(TABLE alarms, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) AS y WHERE x.window_start = y.window_start AND x.window_end = y.window_end AND x.device_id = y.device_id);
INSERT INTO cumulating
SELECT device_id, n, window_start, window_end FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) AS x
WHERE NOT EXISTS (SELECT * FROM TABLE(CUMULATE(TABLE alarms, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) AS y WHERE x.window_start = y.window_start AND x.window_end = y.window_end AND x.device_id = y.device_id);
INSERT INTO of_groups
SELECT device_id, c, window_start FROM (SELECT device_id, COUNT(*) AS c, window_start, window_end FROM r GROUP BY device_id, window_start, window_end) AS x
WHERE EXISTS (SELECT 1 FROM (SELECT device_id, MAX(level) AS l, window_start, window_end FROM a GROUP BY device_id, window_start, window_end) AS y WHERE x.window_start = y.window_start AND x.window_end = y.window_end AND x.device_id = y.device_id AND y.l > 1);
INSERT INTO groups_missing
SELECT device_id, c, window_start FROM (SELECT device_id, COUNT(*) AS c, window_start, window_end FROM r GROUP BY device_id, window_start, window_end) AS x
WHERE NOT EXISTS (SELECT 1 FROM a AS y WHERE x.window_start = y.window_start AND x.window_end = y.window_end AND x.device_id = y.device_id);
INSERT INTO any_device
SELECT device_id, n, window_start FROM r WHERE n IN (SELECT level FROM a WHERE r.window_start = a.window_start AND r.window_end = a.window_end);
INSERT INTO counted
SELECT window_start, COUNT(*) FROM (SELECT window_start, window_end FROM r WHERE device_id IN (SELECT device_id FROM a WHERE r.window_start = a.window_start AND r.window_end = a.window_end)) GROUP BY window_start, window_end;
