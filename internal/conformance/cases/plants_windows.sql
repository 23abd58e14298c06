-- Windows over four partitions that progress at different speeds; each device has rows in all of them.
CREATE TABLE readings (device_id STRING, sensor STRING, site STRING, v DOUBLE, n INT, ok BOOLEAN, price DECIMAL(10, 2), tags ARRAY<STRING>, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'plants', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE tumble_10s_all (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'tumble_10s_all', 'format' = 'json');
CREATE TABLE tumble_10s_device (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, lo DOUBLE, hi DOUBLE, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'tumble_10s_device', 'format' = 'json');
CREATE TABLE tumble_10s_distinct (site STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, f BIGINT) WITH ('connector' = 'kafka', 'topic' = 'tumble_10s_distinct', 'format' = 'json');
CREATE TABLE tumble_1m_all (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'tumble_1m_all', 'format' = 'json');
CREATE TABLE tumble_1m_device (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, lo DOUBLE, hi DOUBLE, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'tumble_1m_device', 'format' = 'json');
CREATE TABLE tumble_1m_distinct (site STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, f BIGINT) WITH ('connector' = 'kafka', 'topic' = 'tumble_1m_distinct', 'format' = 'json');
CREATE TABLE hop_5_20_all (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'hop_5_20_all', 'format' = 'json');
CREATE TABLE hop_5_20_device (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, lo DOUBLE, hi DOUBLE, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'hop_5_20_device', 'format' = 'json');
CREATE TABLE hop_5_20_distinct (site STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, f BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hop_5_20_distinct', 'format' = 'json');
CREATE TABLE hop_30_90_all (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'hop_30_90_all', 'format' = 'json');
CREATE TABLE hop_30_90_device (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, lo DOUBLE, hi DOUBLE, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'hop_30_90_device', 'format' = 'json');
CREATE TABLE hop_30_90_distinct (site STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, f BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hop_30_90_distinct', 'format' = 'json');
CREATE TABLE hop_1_10_all (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'hop_1_10_all', 'format' = 'json');
CREATE TABLE hop_1_10_device (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, lo DOUBLE, hi DOUBLE, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'hop_1_10_device', 'format' = 'json');
CREATE TABLE hop_1_10_distinct (site STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, f BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hop_1_10_distinct', 'format' = 'json');
CREATE TABLE cumulate_10_60_all (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'cumulate_10_60_all', 'format' = 'json');
CREATE TABLE cumulate_10_60_device (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, lo DOUBLE, hi DOUBLE, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'cumulate_10_60_device', 'format' = 'json');
CREATE TABLE cumulate_10_60_distinct (site STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, f BIGINT) WITH ('connector' = 'kafka', 'topic' = 'cumulate_10_60_distinct', 'format' = 'json');
CREATE TABLE cumulate_1_5_all (s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT) WITH ('connector' = 'kafka', 'topic' = 'cumulate_1_5_all', 'format' = 'json');
CREATE TABLE cumulate_1_5_device (d STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, lo DOUBLE, hi DOUBLE, su DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'cumulate_1_5_device', 'format' = 'json');
CREATE TABLE cumulate_1_5_distinct (site STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, f BIGINT) WITH ('connector' = 'kafka', 'topic' = 'cumulate_1_5_distinct', 'format' = 'json');
CREATE TABLE session_device_id (k STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT, av DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'session_device_id', 'format' = 'json');
CREATE TABLE session_sensor (k STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT, av DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'session_sensor', 'format' = 'json');
CREATE TABLE session_site (k STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT, av DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'session_site', 'format' = 'json');
CREATE TABLE session_device_id_sensor (k STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total INT, av DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'session_device_id_sensor', 'format' = 'json');
CREATE TABLE session_where (k STRING, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'session_where', 'format' = 'json');
INSERT INTO tumble_10s_all
SELECT window_start, window_end, COUNT(*), SUM(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
INSERT INTO tumble_10s_device
SELECT device_id, window_start, window_end, COUNT(v), MIN(v), MAX(v), SUM(v) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, device_id;
INSERT INTO tumble_10s_distinct
SELECT site, window_start, window_end, COUNT(DISTINCT device_id), COUNT(*) FILTER (WHERE ok) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, site;
INSERT INTO tumble_1m_all
SELECT window_start, window_end, COUNT(*), SUM(n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO tumble_1m_device
SELECT device_id, window_start, window_end, COUNT(v), MIN(v), MAX(v), SUM(v) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, device_id;
INSERT INTO tumble_1m_distinct
SELECT site, window_start, window_end, COUNT(DISTINCT device_id), COUNT(*) FILTER (WHERE ok) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, site;
INSERT INTO hop_5_20_all
SELECT window_start, window_end, COUNT(*), SUM(n) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end;
INSERT INTO hop_5_20_device
SELECT device_id, window_start, window_end, COUNT(v), MIN(v), MAX(v), SUM(v) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end, device_id;
INSERT INTO hop_5_20_distinct
SELECT site, window_start, window_end, COUNT(DISTINCT device_id), COUNT(*) FILTER (WHERE ok) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end, site;
INSERT INTO hop_30_90_all
SELECT window_start, window_end, COUNT(*), SUM(n) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '90' SECOND)) GROUP BY window_start, window_end;
INSERT INTO hop_30_90_device
SELECT device_id, window_start, window_end, COUNT(v), MIN(v), MAX(v), SUM(v) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '90' SECOND)) GROUP BY window_start, window_end, device_id;
INSERT INTO hop_30_90_distinct
SELECT site, window_start, window_end, COUNT(DISTINCT device_id), COUNT(*) FILTER (WHERE ok) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '90' SECOND)) GROUP BY window_start, window_end, site;
INSERT INTO hop_1_10_all
SELECT window_start, window_end, COUNT(*), SUM(n) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
INSERT INTO hop_1_10_device
SELECT device_id, window_start, window_end, COUNT(v), MIN(v), MAX(v), SUM(v) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end, device_id;
INSERT INTO hop_1_10_distinct
SELECT site, window_start, window_end, COUNT(DISTINCT device_id), COUNT(*) FILTER (WHERE ok) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end, site;
INSERT INTO cumulate_10_60_all
SELECT window_start, window_end, COUNT(*), SUM(n) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO cumulate_10_60_device
SELECT device_id, window_start, window_end, COUNT(v), MIN(v), MAX(v), SUM(v) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, device_id;
INSERT INTO cumulate_10_60_distinct
SELECT site, window_start, window_end, COUNT(DISTINCT device_id), COUNT(*) FILTER (WHERE ok) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, site;
INSERT INTO cumulate_1_5_all
SELECT window_start, window_end, COUNT(*), SUM(n) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)) GROUP BY window_start, window_end;
INSERT INTO cumulate_1_5_device
SELECT device_id, window_start, window_end, COUNT(v), MIN(v), MAX(v), SUM(v) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, device_id;
INSERT INTO cumulate_1_5_distinct
SELECT site, window_start, window_end, COUNT(DISTINCT device_id), COUNT(*) FILTER (WHERE ok) FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, site;
INSERT INTO session_device_id
SELECT device_id, window_start, window_end, COUNT(*), SUM(n), AVG(v) FROM TABLE(SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO session_sensor
SELECT sensor, window_start, window_end, COUNT(*), SUM(n), AVG(v) FROM TABLE(SESSION(TABLE readings PARTITION BY sensor, DESCRIPTOR(ts), INTERVAL '4' SECOND)) GROUP BY sensor, window_start, window_end;
INSERT INTO session_site
SELECT site, window_start, window_end, COUNT(*), SUM(n), AVG(v) FROM TABLE(SESSION(TABLE readings PARTITION BY site, DESCRIPTOR(ts), INTERVAL '7' SECOND)) GROUP BY site, window_start, window_end;
INSERT INTO session_device_id_sensor
SELECT device_id, window_start, window_end, COUNT(*), SUM(n), AVG(v) FROM TABLE(SESSION(TABLE readings PARTITION BY (device_id, sensor), DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY device_id, sensor, window_start, window_end;
INSERT INTO session_where
SELECT device_id, window_start, window_end, COUNT(*) FROM (SELECT * FROM TABLE(SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '12' SECOND))) GROUP BY device_id, window_start, window_end HAVING COUNT(*) > 1;
