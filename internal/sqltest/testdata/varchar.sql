CREATE TABLE readings (device_id VARCHAR, place ROW<room VARCHAR>, tags ARRAY<VARCHAR>, attrs MAP<VARCHAR, VARBINARY>, c VARCHAR(3), k CHAR(2), t STRING, y VARBINARY, x DOUBLE, bi BINARY(2), d DECIMAL(10,4), ts TIMESTAMP(6), tm TIME(3), texts ARRAY<STRING>) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','topic'='readings','format'='json');
CREATE TABLE per_device (device_id VARCHAR, readings BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector'='upsert-kafka','topic'='per_device','key.format'='json','value.format'='json');
CREATE TABLE short_keys (device_id VARCHAR(6), readings BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector'='upsert-kafka','topic'='short_keys','key.format'='json','value.format'='json');
CREATE TABLE o (n STRING, v STRING) WITH ('connector'='kafka','topic'='o','format'='json');
CREATE TABLE sized (n STRING, c3 VARCHAR(3), c10 VARCHAR(10), c2 VARCHAR(2), k4 CHAR(4), k2 CHAR(2), k1 CHAR(1), v2 VARBINARY(2), b4 BINARY(4), b1 BINARY(1), d DECIMAL(5,2), ts TIMESTAMP(3), ca ARRAY<VARCHAR(2)>) WITH ('connector'='kafka','topic'='sized','format'='json','json.encode.ignore-null-fields'='true');
INSERT INTO per_device SELECT device_id, COUNT(*) FROM readings GROUP BY device_id;
INSERT INTO short_keys SELECT device_id, COUNT(*) FROM readings GROUP BY device_id;
INSERT INTO o SELECT 'room', place.room FROM readings UNION ALL SELECT 'tag', tags[1] FROM readings UNION ALL SELECT 'cast', CAST(x AS VARCHAR) FROM readings
  UNION ALL SELECT 'bytes', CAST(CAST(t AS VARBINARY) AS VARCHAR) FROM readings UNION ALL SELECT 'try', TRY_CAST(x AS VARCHAR(2)) FROM readings UNION ALL SELECT 'identity', CAST(c AS VARCHAR(3)) FROM readings
  UNION ALL SELECT 'row', CAST(ROW(t) AS ROW<p VARCHAR>).p FROM readings UNION ALL SELECT 'json', JSON_VALUE('{"a":"long"}', '$.a' RETURNING VARCHAR) FROM readings WHERE t <> '' UNION ALL SELECT 'attr', CAST(attrs['a'] AS STRING) FROM readings;
INSERT INTO sized (n, c3, c10, c2) SELECT 'c', c, c, c FROM readings;
INSERT INTO sized (n, c3, c10, c2) SELECT 't', t, t, t FROM readings;
INSERT INTO sized (n, c3, c10, c2) SELECT 'k', k, k, k FROM readings;
INSERT INTO sized (n, k4, k2, k1) SELECT 'k->k', k, k, k FROM readings;
INSERT INTO sized (n, v2) SELECT 'y', y FROM readings;
INSERT INTO sized (n, v2, b4, b1) SELECT 'bi', bi, bi, bi FROM readings;
INSERT INTO sized (n, d, ts, ca) SELECT 'other', d, ts, texts FROM readings;
INSERT INTO sized (n, c3) SELECT 'union', c FROM readings UNION ALL SELECT 'union', t FROM readings;
INSERT INTO sized (n, c3) SELECT 'coalesce', COALESCE(c, t) FROM readings;
INSERT INTO sized (n, c3, k4) SELECT 'literal', 'hello', 'ab' FROM readings;
INSERT INTO sized (n, c3) SELECT 'expression', c || 'xyz' FROM readings;
