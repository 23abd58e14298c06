CREATE TABLE a (n INT, arr ARRAY<INT>, m MAP<STRING, INT>, r ROW<x INT, y STRING>, rows_ ARRAY<ROW<x INT>>, deep ARRAY<ARRAY<TINYINT>>, s STRING) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','format'='json','topic'='a','json.ignore-parse-errors'='true');
CREATE TABLE o (n INT, arr ARRAY<INT>, m MAP<STRING, INT>, r ROW<x INT, y STRING>, rows_ ARRAY<ROW<x INT>>, deep ARRAY<ARRAY<TINYINT>>, s STRING) WITH ('connector'='kafka','topic'='o','format'='json','json.encode.ignore-null-fields'='true');
INSERT INTO o SELECT * FROM a;
