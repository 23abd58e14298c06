CREATE TABLE t1 (id BIGINT, k DECIMAL(8, 2), i2 INT, j3 SMALLINT, l5 BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '60' MINUTE) WITH ('connector' = 'kafka', 'topic' = 't1', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE VIEW w7 AS SELECT id, i2, j3, FIRST_VALUE(j3) OVER w AS c6 FROM t1 WINDOW w AS (ORDER BY ts);
CREATE VIEW w10 AS SELECT id, i2, LAG(k) OVER w AS c8 FROM t1 WINDOW w AS (PARTITION BY k, i2 ORDER BY ts);
CREATE TABLE o30 (id BIGINT) WITH ('connector' = 'kafka', 'topic' = 'o30', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
INSERT INTO o30 SELECT a.id FROM w7 AS a JOIN w10 AS b ON a.i2 = b.i2 AND a.j3 <> b.id;
