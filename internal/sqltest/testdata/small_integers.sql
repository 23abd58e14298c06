CREATE TABLE a (n INT, x TINYINT, y SMALLINT, i INT, b BIGINT) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','format'='json','topic'='a','json.ignore-parse-errors'='true');
CREATE TABLE strict (n INT, x TINYINT) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','format'='json','topic'='strict');
CREATE TABLE o (n INT, x TINYINT, y SMALLINT, i INT, b BIGINT) WITH ('connector'='kafka','topic'='o','format'='json','json.encode.ignore-null-fields'='true');
INSERT INTO o SELECT n, x, y, i, b FROM a;
INSERT INTO o (n, x) SELECT n, x FROM strict;
