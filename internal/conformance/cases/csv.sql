-- CSV in topics: every type written and read, quotes, escapes, literals of NULL, arrays and rows.
CREATE TABLE texts (id INT, u STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'texts', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE all_types (
  id INT, b BOOLEAN, t TINYINT, s SMALLINT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(10, 2), u STRING, y BYTES, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), a ARRAY<INT>, w ARRAY<STRING>, r ROW<p INT, q STRING>
) WITH ('connector' = 'kafka', 'topic' = 'all_types', 'value.format' = 'csv', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE semicolons (id INT, u STRING, v DOUBLE, a ARRAY<STRING>) WITH ('connector' = 'kafka', 'topic' = 'semicolons', 'format' = 'csv', 'csv.field-delimiter' = ';', 'csv.quote-character' = '''', 'csv.escape-character' = '\', 'csv.null-literal' = 'n/a', 'csv.array-element-delimiter' = '|', 'csv.allow-comments' = 'true', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE tabs (id INT, u STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'tabs', 'format' = 'csv', 'csv.field-delimiter' = '\t', 'csv.disable-quote-character' = 'true', 'csv.ignore-parse-errors' = 'true', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE keyed (k STRING, n INT, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'keyed', 'key.format' = 'csv', 'key.fields' = 'k;n', 'value.format' = 'csv', 'value.fields-include' = 'EXCEPT_KEY', 'scan.startup.mode' = 'earliest-offset');

CREATE TABLE types_json (
  id INT, b BOOLEAN, t TINYINT, s SMALLINT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(10, 2), u STRING, y BYTES, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), a ARRAY<INT>, w ARRAY<STRING>, r ROW<p INT, q STRING>
) WITH ('connector' = 'kafka', 'topic' = 'types_json', 'format' = 'json');
CREATE TABLE types_csv (
  id INT, b BOOLEAN, t TINYINT, s SMALLINT, l BIGINT, f FLOAT, v DOUBLE, x DECIMAL(10, 2), u STRING, y BYTES, dt DATE, tm TIME(0), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), a ARRAY<INT>, w ARRAY<STRING>, r ROW<p INT, q STRING>
) WITH ('connector' = 'kafka', 'topic' = 'types_csv', 'format' = 'csv');
CREATE TABLE types_other (
  id INT, b BOOLEAN, f FLOAT, v DOUBLE, x DECIMAL(20, 10), u STRING, y BYTES, ts TIMESTAMP(6), tz TIMESTAMP_LTZ(3), w ARRAY<STRING>, r ROW<p INT, q STRING>
) WITH ('connector' = 'kafka', 'topic' = 'types_other', 'format' = 'csv', 'csv.field-delimiter' = ';', 'csv.quote-character' = '''', 'csv.escape-character' = '\', 'csv.null-literal' = 'n/a', 'csv.array-element-delimiter' = '|', 'csv.write-bigdecimal-in-scientific-notation' = 'false');
CREATE TABLE decimals (id INT, x DECIMAL(20, 10), n DECIMAL(20, 0)) WITH ('connector' = 'kafka', 'topic' = 'decimals', 'format' = 'csv');
CREATE TABLE decimals_scientific (id INT, x DECIMAL(20, 10), n DECIMAL(20, 0)) WITH ('connector' = 'kafka', 'topic' = 'decimals_scientific', 'format' = 'csv', 'csv.write-bigdecimal-in-scientific-notation' = 'true');
CREATE TABLE texts_csv (id INT, u STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'texts_csv', 'format' = 'csv');
CREATE TABLE texts_escaped (id INT, u STRING) WITH ('connector' = 'kafka', 'topic' = 'texts_escaped', 'format' = 'csv', 'csv.escape-character' = '\', 'csv.null-literal' = 'NULL');
CREATE TABLE semicolons_json (id INT, u STRING, v DOUBLE, a ARRAY<STRING>) WITH ('connector' = 'kafka', 'topic' = 'semicolons_json', 'format' = 'json');
CREATE TABLE tabs_json (id INT, u STRING, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'tabs_json', 'format' = 'json');
CREATE TABLE keyed_json (k STRING, n INT, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'keyed_json', 'format' = 'json');
CREATE TABLE keyed_csv (k STRING, n INT, v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'keyed_csv', 'key.format' = 'csv', 'key.fields' = 'k;n', 'value.format' = 'csv', 'value.fields-include' = 'EXCEPT_KEY');

INSERT INTO types_json
SELECT * FROM all_types;
INSERT INTO types_csv
SELECT * FROM all_types;
INSERT INTO types_other
SELECT id, b, f, v / 3, CAST(x AS DECIMAL(20, 10)) / 1000, u, y, CAST(ts AS TIMESTAMP(6)), tz, w, r FROM all_types;
INSERT INTO decimals
SELECT id, CAST(x AS DECIMAL(20, 10)) / 1000000, CAST(x AS DECIMAL(20, 0)) * 1000 FROM all_types;
INSERT INTO decimals_scientific
SELECT id, CAST(x AS DECIMAL(20, 10)) / 1000000, CAST(x AS DECIMAL(20, 0)) * 1000 FROM all_types;
INSERT INTO texts_csv
SELECT * FROM texts;
INSERT INTO texts_escaped
SELECT id, u FROM texts;
INSERT INTO semicolons_json
SELECT * FROM semicolons;
INSERT INTO tabs_json
SELECT * FROM tabs;
INSERT INTO keyed_json
SELECT * FROM keyed;
INSERT INTO keyed_csv
SELECT * FROM keyed;
