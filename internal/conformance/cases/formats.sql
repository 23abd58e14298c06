-- Formats: every type decoded and encoded, missing and invalid values, keys, metadata, raw lines, upserts with tombstones.
CREATE TABLE rows_ (
  id INT, b BOOLEAN, t TINYINT, s SMALLINT, i INT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(10, 2), u STRING, y BYTES, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), a ARRAY<INT>, m MAP<STRING, DOUBLE>, r ROW<p INT, q ROW<z STRING>>, o ARRAY<ROW<k STRING>>
) WITH ('connector' = 'kafka', 'topic' = 'rows_', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE sql_times (id INT, ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), ts6 TIMESTAMP(6)) WITH ('connector' = 'kafka', 'topic' = 'sql_times', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE loose (id INT, b BOOLEAN, i INT, v DOUBLE, u STRING, x DECIMAL(6, 3)) WITH ('connector' = 'kafka', 'topic' = 'loose', 'value.format' = 'json', 'value.json.ignore-parse-errors' = 'true', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE keyed_in (k STRING, k_n INT, v DOUBLE, at_ TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', part INT METADATA FROM 'partition' VIRTUAL, off_ BIGINT METADATA FROM 'offset' VIRTUAL) WITH ('connector' = 'kafka', 'topic' = 'keyed_in', 'key.format' = 'json', 'key.fields' = 'k;k_n', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE lines (line STRING) WITH ('connector' = 'kafka', 'topic' = 'lines', 'value.format' = 'raw', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE copied (id INT, b BOOLEAN, t TINYINT, s SMALLINT, i INT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(10, 2), u STRING, y BYTES, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), a ARRAY<INT>, m MAP<STRING, DOUBLE>, r ROW<p INT, q ROW<z STRING>>, o ARRAY<ROW<k STRING>>) WITH ('connector' = 'kafka', 'topic' = 'copied', 'value.format' = 'json');
CREATE TABLE copied_iso (id INT, b BOOLEAN, t TINYINT, s SMALLINT, i INT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(10, 2), u STRING, y BYTES, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), a ARRAY<INT>, m MAP<STRING, DOUBLE>, r ROW<p INT, q ROW<z STRING>>, o ARRAY<ROW<k STRING>>) WITH ('connector' = 'kafka', 'topic' = 'copied_iso', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE copied_short (id INT, b BOOLEAN, t TINYINT, s SMALLINT, i INT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(10, 2), u STRING, y BYTES, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), a ARRAY<INT>, m MAP<STRING, DOUBLE>, r ROW<p INT, q ROW<z STRING>>, o ARRAY<ROW<k STRING>>) WITH ('connector' = 'kafka', 'topic' = 'copied_short', 'value.format' = 'json', 'value.json.encode.ignore-null-fields' = 'true');
CREATE TABLE copied_plain (id INT, b BOOLEAN, t TINYINT, s SMALLINT, i INT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(10, 2), u STRING, y BYTES, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), a ARRAY<INT>, m MAP<STRING, DOUBLE>, r ROW<p INT, q ROW<z STRING>>, o ARRAY<ROW<k STRING>>) WITH ('connector' = 'kafka', 'topic' = 'copied_plain', 'value.format' = 'json', 'value.json.encode.decimal-as-plain-number' = 'true');
CREATE TABLE computed (id INT, d DOUBLE, x DECIMAL(38, 10), z DOUBLE, n DECIMAL(20, 0), nested ROW<a INT, b ARRAY<STRING>>) WITH ('connector' = 'kafka', 'topic' = 'computed', 'value.format' = 'json');
CREATE TABLE times (id INT, ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), ts6 TIMESTAMP(6), ts0 TIMESTAMP(0)) WITH ('connector' = 'kafka', 'topic' = 'times', 'value.format' = 'json');
CREATE TABLE loosely (id INT, b BOOLEAN, i INT, v DOUBLE, u STRING, x DECIMAL(6, 3)) WITH ('connector' = 'kafka', 'topic' = 'loosely', 'value.format' = 'json');
CREATE TABLE keys_kept (k STRING, k_n INT, v DOUBLE, at_ TIMESTAMP_LTZ(3), part INT, off_ BIGINT) WITH ('connector' = 'kafka', 'topic' = 'keys_kept', 'value.format' = 'json');
CREATE TABLE keys_written (k STRING, k_n INT, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'keys_written', 'value.format' = 'json', 'key.format' = 'json', 'key.fields' = 'k;k_n', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE keys_prefixed (key_k STRING, key_n INT, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'keys_prefixed', 'value.format' = 'json', 'key.format' = 'json', 'key.fields' = 'key_k;key_n', 'key.fields-prefix' = 'key_', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE keys_raw (k STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'keys_raw', 'value.format' = 'json', 'key.format' = 'raw', 'key.fields' = 'k');
CREATE TABLE stamped (at_ TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', headers MAP<STRING, BYTES> METADATA, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'stamped', 'value.format' = 'json');
CREATE TABLE raw_lines (n INT, line STRING) WITH ('connector' = 'kafka', 'topic' = 'raw_lines', 'value.format' = 'json');
INSERT INTO copied
SELECT * FROM rows_;
INSERT INTO copied_iso
SELECT * FROM rows_;
INSERT INTO copied_short
SELECT * FROM rows_;
INSERT INTO copied_plain
SELECT * FROM rows_;
INSERT INTO computed
SELECT id, v / 3, x * 1000000.123, -v, CAST(x AS DECIMAL(20, 0)), CAST(ROW(id, ARRAY[u, 'x']) AS ROW<a INT, b ARRAY<STRING>>) FROM rows_;
INSERT INTO times
SELECT id, ts, tz, ts6, CAST(ts AS TIMESTAMP(0)) FROM sql_times;
INSERT INTO loosely
SELECT * FROM loose;
INSERT INTO keys_kept
SELECT * FROM keyed_in;
INSERT INTO keys_written
SELECT k, k_n, v FROM keyed_in;
INSERT INTO keys_prefixed
SELECT k, k_n, v FROM keyed_in;
INSERT INTO keys_raw
SELECT k, v FROM keyed_in;
INSERT INTO stamped
SELECT at_, MAP['who', ENCODE(k, 'UTF-8')], v FROM keyed_in;
INSERT INTO raw_lines
SELECT CHAR_LENGTH(line), line FROM lines;
