SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD';
CREATE TABLE a (c VARCHAR(2), k CHAR(2), vb VARBINARY(2), bi BINARY(3), t STRING, r ROW<x VARCHAR(2)>) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','topic'='a','format'='json');
CREATE TABLE o (c VARCHAR(2), k CHAR(2), vb VARBINARY(2), bi BINARY(3), t VARCHAR(2), r ROW<x VARCHAR(2)>) WITH ('connector'='kafka','topic'='o','format'='json');
CREATE TABLE p (c VARCHAR(2)) WITH ('connector'='kafka','topic'='p','format'='json');
INSERT INTO o SELECT c, k, vb, bi, t, r FROM a;
SET 'table.exec.sink.type-length-enforcer' = 'IGNORE';
INSERT INTO p SELECT c FROM a;
