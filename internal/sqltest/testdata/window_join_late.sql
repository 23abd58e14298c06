CREATE TABLE measured (device STRING, v INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH (
  'connector' = 'kafka', 'topic' = 'measured', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE planned (device STRING, target INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH (
  'connector' = 'kafka', 'topic' = 'planned', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (kind STRING, device STRING, v INT, target INT, w STRING) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
CREATE VIEW m AS SELECT * FROM TABLE(TUMBLE(TABLE measured, DESCRIPTOR(ts), INTERVAL '10' SECOND));
CREATE VIEW p AS SELECT * FROM TABLE(TUMBLE(TABLE planned, DESCRIPTOR(ts), INTERVAL '10' SECOND));
INSERT INTO results SELECT 'inner', m.device, m.v, p.target, CAST(m.window_end AS STRING) FROM m JOIN p ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO results SELECT 'left', m.device, m.v, p.target, CAST(m.window_end AS STRING) FROM m LEFT JOIN p ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end AND m.v > p.target;
INSERT INTO results SELECT 'right', p.device, m.v, p.target, CAST(p.window_end AS STRING) FROM m RIGHT JOIN p ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO results SELECT 'full', COALESCE(m.device, p.device), m.v, p.target, CAST(COALESCE(m.window_end, p.window_end) AS STRING) FROM m FULL JOIN p ON m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO results SELECT 'where', m.device, m.v, p.target, CAST(p.window_end AS STRING) FROM m, p WHERE m.device = p.device AND m.window_start = p.window_start AND m.window_end = p.window_end AND m.v = 1;
