CREATE TABLE setpoints (device STRING, target INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH (
  'connector' = 'kafka', 'topic' = 'setpoints', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE readings (device STRING, v INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (kind STRING, device STRING, target INT, v INT) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
INSERT INTO results SELECT 'inner', s.device, s.target, r.v FROM setpoints s JOIN readings r ON s.device = r.device AND r.ts BETWEEN s.ts AND s.ts + INTERVAL '5' SECOND;
INSERT INTO results SELECT 'left', s.device, s.target, r.v FROM setpoints s LEFT JOIN readings r ON s.device = r.device AND r.ts BETWEEN s.ts AND s.ts + INTERVAL '5' SECOND AND r.v > 10;
INSERT INTO results SELECT 'right', r.device, s.target, r.v FROM setpoints s RIGHT JOIN readings r ON s.device = r.device AND r.ts >= s.ts AND r.ts < s.ts + INTERVAL '5' SECOND;
INSERT INTO results SELECT 'full', COALESCE(s.device, r.device), s.target, r.v FROM setpoints s FULL JOIN readings r ON s.device = r.device AND r.ts BETWEEN s.ts - INTERVAL '1' SECOND AND s.ts + INTERVAL '1' SECOND;
