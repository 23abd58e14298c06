-- Every change of a row is printed, whatever its type.
CREATE TABLE r (
  d STRING, v DOUBLE, f FLOAT, n DECIMAL(10, 2), small DECIMAL(10, 8), fl BOOLEAN, y BYTES, dt DATE, t TIME(3), ts TIMESTAMP(3), ltz TIMESTAMP_LTZ(3),
  a ARRAY<STRING>, m MAP<STRING, INT>, o ROW<x INT, y STRING>
) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json', 'key.format' = 'raw', 'key.fields' = 'd');
CREATE TABLE p WITH ('connector' = 'print') LIKE r (EXCLUDING ALL);
CREATE TABLE totals (d STRING, n BIGINT, total DOUBLE) WITH ('connector' = 'print', 'print-identifier' = 'totals', 'standard-error' = 'true');
CREATE TABLE nothing (d STRING) WITH ('connector' = 'blackhole');
INSERT INTO p SELECT * FROM r;
INSERT INTO totals SELECT d, COUNT(*), SUM(v) FROM r GROUP BY d;
INSERT INTO nothing SELECT d FROM r;
