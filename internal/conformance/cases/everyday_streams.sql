-- Streams of a water utility put together: topics of different shapes, silent ones, keys, versions and joins on top of joins.
CREATE TABLE meters_a (meter STRING, litres INT, at_ms BIGINT, written TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, top STRING METADATA FROM 'topic' VIRTUAL, ts AS TO_TIMESTAMP_LTZ(at_ms, 3), m3 AS CAST(litres AS DECIMAL(10, 3)) / 1000, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'meters_a', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE meters_b (id STRING, v DECIMAL(10, 3), moment TIMESTAMP_LTZ(3), WATERMARK FOR moment AS moment - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'meters_b', 'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE meters_lines (line STRING) WITH ('connector' = 'kafka', 'topic' = 'meters_lines', 'value.format' = 'raw', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE pipes (pipe STRING, bar DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'pipes', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE spare_pipes WITH ('topic' = 'spare_pipes') LIKE pipes;
CREATE TABLE valves (valve STRING, pipe STRING, open_ BOOLEAN, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'valves', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE tariffs (class_ STRING, cents DECIMAL(6, 2), ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts, PRIMARY KEY (class_) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'tariffs', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE homes (meter STRING, class_ STRING, pipe STRING, people INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts, PRIMARY KEY (meter) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'homes', 'key.format' = 'json', 'value.format' = 'json');
CREATE VIEW all_meters AS SELECT meter, m3, ts, 'a' AS src FROM meters_a UNION ALL SELECT UPPER(id), v, moment, 'b' FROM meters_b;
CREATE VIEW home_use AS SELECT a.meter, a.m3, a.ts, h.class_, h.pipe, h.people FROM all_meters AS a JOIN homes FOR SYSTEM_TIME AS OF a.ts AS h ON a.meter = h.meter;
CREATE VIEW minute_use AS SELECT meter, window_start, window_end, window_time AS wt, SUM(m3) AS m3, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE all_meters, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY meter, window_start, window_end, window_time;
CREATE VIEW pressures AS SELECT * FROM pipes UNION ALL SELECT * FROM spare_pipes;
CREATE TABLE per_source (src STRING, s TIMESTAMP(3), meters BIGINT, m3 DECIMAL(38, 3)) WITH ('connector' = 'kafka', 'topic' = 'per_source', 'value.format' = 'json');
CREATE TABLE bills (meter STRING, m3 DECIMAL(38, 6), euros DECIMAL(38, 6), class_ STRING) WITH ('connector' = 'kafka', 'topic' = 'bills', 'value.format' = 'json');
CREATE TABLE class_hours (class_ STRING, s TIMESTAMP(3), m3 DECIMAL(38, 3), per_head DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'class_hours', 'value.format' = 'json');
CREATE TABLE leaks (valve STRING, pipe STRING, bar DOUBLE, after_ INT) WITH ('connector' = 'kafka', 'topic' = 'leaks', 'value.format' = 'json');
CREATE TABLE leaks_per_window (s TIMESTAMP(3), pipe STRING, readings BIGINT, lowest DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'leaks_per_window', 'value.format' = 'json');
CREATE TABLE worst_pipe (s TIMESTAMP(3), pipe STRING, lowest DOUBLE, valves BIGINT) WITH ('connector' = 'kafka', 'topic' = 'worst_pipe', 'value.format' = 'json');
CREATE TABLE unconfirmed (valve STRING, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'unconfirmed', 'value.format' = 'json');
CREATE TABLE flats (pipe STRING, homes BIGINT, people INT, used DECIMAL(38, 3), PRIMARY KEY (pipe) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'flats', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE silent_homes (meter STRING, pipe STRING, PRIMARY KEY (meter) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'silent_homes', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE stamped_rows (meter STRING, top STRING, y BIGINT, litres INT) WITH ('connector' = 'kafka', 'topic' = 'stamped_rows', 'value.format' = 'json');
CREATE TABLE parsed_lines (meter STRING, m3 DECIMAL(10, 3), ok BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'parsed_lines', 'value.format' = 'json');
CREATE TABLE leaps (meter STRING, s TIMESTAMP(3), m3 DECIMAL(38, 3), before DECIMAL(38, 3)) WITH ('connector' = 'kafka', 'topic' = 'leaps', 'value.format' = 'json');
CREATE TABLE pairs (a STRING, b STRING, s TIMESTAMP(3), difference_ DECIMAL(38, 3)) WITH ('connector' = 'kafka', 'topic' = 'pairs', 'value.format' = 'json');
CREATE TABLE first_of_all (meter STRING, src STRING, m3 DECIMAL(10, 3)) WITH ('connector' = 'kafka', 'topic' = 'first_of_all', 'value.format' = 'json');
CREATE TABLE in_both (meter STRING, s TIMESTAMP(3), a BIGINT, b BIGINT) WITH ('connector' = 'kafka', 'topic' = 'in_both', 'value.format' = 'json');
CREATE TABLE last_pressure (pipe STRING, bar DOUBLE, low BOOLEAN, PRIMARY KEY (pipe) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'last_pressure', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO parsed_lines
SELECT UPPER(SPLIT_INDEX(line, ';', 0)), TRY_CAST(REPLACE(SPLIT_INDEX(line, ';', 1), ',', '.') AS DECIMAL(10, 3)), SPLIT_INDEX(line, ';', 2) = 'OK' FROM meters_lines WHERE line NOT LIKE '#%' AND CHAR_LENGTH(BTRIM(line)) > 0;
EXECUTE STATEMENT SET BEGIN
INSERT INTO per_source
SELECT src, window_start, COUNT(DISTINCT meter), SUM(m3) FROM TABLE(TUMBLE(TABLE all_meters, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY src, window_start, window_end;
INSERT INTO bills
SELECT u.meter, u.m3, u.m3 * COALESCE(t.cents, 0) / 100, COALESCE(u.class_, 'none') FROM home_use AS u LEFT JOIN tariffs FOR SYSTEM_TIME AS OF u.ts AS t ON u.class_ = t.class_;
INSERT INTO class_hours
SELECT class_, window_start, SUM(m3), CAST(SUM(m3) AS DOUBLE) / SUM(people) FROM TABLE(TUMBLE(TABLE home_use, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) WHERE class_ IS NOT NULL GROUP BY class_, window_start, window_end;
INSERT INTO leaks
SELECT v.valve, v.pipe, p.bar, TIMESTAMPDIFF(SECOND, v.ts, p.ts) FROM valves AS v JOIN pressures AS p ON v.pipe = p.pipe AND p.ts > v.ts AND p.ts <= v.ts + INTERVAL '30' SECOND WHERE NOT v.open_ AND p.bar < 2;
END;
INSERT INTO leaks_per_window
SELECT window_start, pipe, COUNT(*), MIN(bar) FROM TABLE(TUMBLE((SELECT p.ts, v.pipe, p.bar FROM valves AS v JOIN pressures AS p ON v.pipe = p.pipe AND p.ts BETWEEN v.ts - INTERVAL '10' SECOND AND v.ts + INTERVAL '30' SECOND), DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY pipe, window_start, window_end;
INSERT INTO worst_pipe
SELECT window_start, pipe, lowest, valves FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY lowest, pipe) AS rn FROM (SELECT p.window_start, p.window_end, p.pipe, p.lowest, COALESCE(v.c, 0) AS valves FROM (SELECT pipe, window_start, window_end, MIN(bar) AS lowest FROM TABLE(TUMBLE(TABLE pressures, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY pipe, window_start, window_end) AS p LEFT JOIN (SELECT pipe, window_start, window_end, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE valves, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY pipe, window_start, window_end) AS v ON p.pipe = v.pipe AND p.window_start = v.window_start AND p.window_end = v.window_end)) WHERE rn = 1;
INSERT INTO unconfirmed
SELECT c.valve, c.ts FROM valves AS c LEFT JOIN pipes AS p ON c.pipe = p.pipe AND p.ts BETWEEN c.ts AND c.ts + INTERVAL '20' SECOND AND p.bar > 3 WHERE c.open_ AND p.pipe IS NULL;
INSERT INTO flats
SELECT h.pipe, COUNT(*), SUM(h.people), SUM(u.used) FROM homes AS h LEFT JOIN (SELECT meter, SUM(m3) AS used FROM all_meters GROUP BY meter) AS u ON h.meter = u.meter WHERE h.pipe IS NOT NULL GROUP BY h.pipe;
INSERT INTO silent_homes
SELECT h.meter, h.pipe FROM homes AS h WHERE NOT EXISTS (SELECT 1 FROM all_meters AS a WHERE a.meter = h.meter AND a.m3 > 0);
INSERT INTO stamped_rows
SELECT meter, SUBSTRING(top FROM CHAR_LENGTH(top) - 7), EXTRACT(YEAR FROM written), litres FROM meters_a WHERE litres > 0;
INSERT INTO leaps
SELECT meter, window_start, m3, before FROM (SELECT meter, window_start, m3, LAG(m3) OVER (PARTITION BY meter ORDER BY wt) AS before FROM minute_use) WHERE m3 > 2 * before OR before IS NULL;
INSERT INTO pairs
WITH w AS (SELECT * FROM minute_use WHERE m3 > 0) SELECT x.meter, y.meter, x.window_start, y.m3 - x.m3 FROM w AS x JOIN w AS y ON x.window_start = y.window_start AND x.window_end = y.window_end AND x.m3 < y.m3;
INSERT INTO first_of_all
SELECT meter, src, m3 FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY meter ORDER BY ts) AS rn FROM all_meters) WHERE rn = 1;
INSERT INTO in_both
SELECT a.meter, a.window_start, a.c, b.c FROM (SELECT meter, window_start, window_end, COUNT(*) AS c FROM TABLE(HOP(TABLE meters_a, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '3' MINUTE)) GROUP BY meter, window_start, window_end) AS a JOIN (SELECT UPPER(id) AS meter, window_start, window_end, COUNT(*) AS c FROM TABLE(HOP(TABLE meters_b, DESCRIPTOR(moment), INTERVAL '1' MINUTE, INTERVAL '3' MINUTE)) GROUP BY UPPER(id), window_start, window_end) AS b ON a.meter = b.meter AND a.window_start = b.window_start AND a.window_end = b.window_end;
INSERT INTO last_pressure
SELECT pipe, bar, bar < 2 FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY pipe ORDER BY ts DESC) AS rn FROM pressures) WHERE rn = 1;
