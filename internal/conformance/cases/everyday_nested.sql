-- Nested messages of gateways: JSON documents, ROW, ARRAY and MAP taken apart and put together again.
CREATE TABLE uplinks (gateway STRING, seq INT, doc STRING, meta ROW<fw ROW<major INT, minor INT>, tags ARRAY<STRING>, pos ROW<lat DOUBLE, lon DOUBLE>>, channels ARRAY<ROW<ch INT, kind STRING, vals ARRAY<DOUBLE>>>, limits MAP<STRING, DOUBLE>, flags ARRAY<INT>, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'uplinks', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE VIEW channel_values AS SELECT gateway, seq, ts, ch, kind, v, i FROM uplinks CROSS JOIN UNNEST(channels) AS c (ch, kind, vals) CROSS JOIN UNNEST(c.vals) WITH ORDINALITY AS u (v, i);
CREATE TABLE defaults (seq INT, t DOUBLE, battery INT, model STRING, strict_ STRING, second_ STRING, ok BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'defaults', 'value.format' = 'json');
CREATE TABLE parts (seq INT, arr STRING, wrapped STRING, empty_ STRING, strings ARRAY<STRING>, whole STRING) WITH ('connector' = 'kafka', 'topic' = 'parts', 'value.format' = 'json');
CREATE TABLE kinds_of_json (seq INT, valid BOOLEAN, object_ BOOLEAN, list_ BOOLEAN, value_ BOOLEAN, has_t BOOLEAN, deep BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'kinds_of_json', 'value.format' = 'json');
CREATE TABLE firmware (gateway STRING, seq INT, fw STRING, outdated BOOLEAN, tag STRING, tags INT, near BOOLEAN, far BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'firmware', 'value.format' = 'json');
CREATE TABLE spread_out (gateway STRING, seq INT, ch INT, kind STRING, v DOUBLE, i INT) WITH ('connector' = 'kafka', 'topic' = 'spread_out', 'value.format' = 'json');
CREATE TABLE channel_stats (gateway STRING, kind STRING, n BIGINT, lo DOUBLE, hi DOUBLE, chs BIGINT, PRIMARY KEY (gateway, kind) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'channel_stats', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE exceeded (seq INT, name STRING, limit_ DOUBLE, worst DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'exceeded', 'value.format' = 'json');
CREATE TABLE flag_lists (seq INT, sorted ARRAY<INT>, reversed_ ARRAY<INT>, first_two ARRAY<INT>, kinds ARRAY<INT>, top INT, both_ ARRAY<INT>, without_ ARRAY<INT>, pos INT) WITH ('connector' = 'kafka', 'topic' = 'flag_lists', 'value.format' = 'json');
CREATE TABLE limit_maps (seq INT, names ARRAY<STRING>, n INT, merged DOUBLE, made MAP<STRING, INT>, has_max BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'limit_maps', 'value.format' = 'json');
CREATE TABLE composed (seq INT, doc STRING, list_ STRING) WITH ('connector' = 'kafka', 'topic' = 'composed', 'value.format' = 'json');
CREATE TABLE rebuilt (gateway STRING, r ROW<id STRING, at_ TIMESTAMP(3), place ROW<lat DOUBLE, lon DOUBLE>>, list_ ARRAY<ROW<k STRING, v INT>>, m MAP<STRING, ARRAY<INT>>) WITH ('connector' = 'kafka', 'topic' = 'rebuilt', 'value.format' = 'json');
CREATE TABLE tag_windows (s TIMESTAMP(3), tag STRING, gateways STRING, n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'tag_windows', 'value.format' = 'json');
CREATE TABLE states_of (gateway STRING, docs STRING, seqs ARRAY<INT>, latest_ STRING, PRIMARY KEY (gateway) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'states_of', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE grouped_parts (major INT, lat DOUBLE, n BIGINT, PRIMARY KEY (major, lat) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'grouped_parts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE texts (seq INT, r STRING, a STRING, m STRING, back_ ARRAY<STRING>, wide ARRAY<BIGINT>) WITH ('connector' = 'kafka', 'topic' = 'texts', 'value.format' = 'json');
INSERT INTO defaults
SELECT seq, JSON_VALUE(doc, '$.t' RETURNING DOUBLE DEFAULT -1e0 ON EMPTY NULL ON ERROR), JSON_VALUE(doc, '$.power.battery' RETURNING INTEGER NULL ON EMPTY DEFAULT 0 ON ERROR), JSON_VALUE(doc, 'lax $.device["model"]' DEFAULT 'unknown' ON EMPTY DEFAULT 'broken' ON ERROR), JSON_VALUE(doc, 'strict $.device.serial' NULL ON EMPTY DEFAULT 'no serial' ON ERROR), JSON_VALUE(doc, '$.list[1]'), COALESCE(JSON_VALUE(doc, '$.ok' RETURNING BOOLEAN), FALSE) FROM uplinks WHERE doc IS JSON OBJECT;
INSERT INTO parts
SELECT seq, JSON_QUERY(doc, '$.list'), JSON_QUERY(doc, '$.t' WITH WRAPPER), JSON_QUERY(doc, '$.nothing' EMPTY ARRAY ON EMPTY EMPTY OBJECT ON ERROR), JSON_QUERY(doc, '$.list' RETURNING ARRAY<STRING>), JSON_QUERY(doc, 'strict $.device' WITHOUT WRAPPER NULL ON EMPTY EMPTY OBJECT ON ERROR) FROM uplinks;
INSERT INTO kinds_of_json
SELECT seq, doc IS JSON, doc IS JSON OBJECT, doc IS JSON ARRAY, doc IS JSON SCALAR, JSON_EXISTS(doc, '$.t'), JSON_EXISTS(doc, 'strict $.power.battery' FALSE ON ERROR) FROM uplinks WHERE doc IS NOT NULL;
INSERT INTO firmware
SELECT gateway, seq, CAST(u.meta.fw.major AS STRING) || '.' || LPAD(CAST(u.meta.fw.minor AS STRING), 2, '0'), u.meta.fw.major < 2 OR u.meta.fw.major = 2 AND u.meta.fw.minor < 4, u.meta.tags[1], COALESCE(CARDINALITY(u.meta.tags), 0), SQRT(POWER(u.meta.pos.lat - 52.5, 2) + POWER(u.meta.pos.lon - 13.4, 2)) < 0.5, u.meta.pos.lat NOT BETWEEN -60 AND 60 FROM uplinks AS u WHERE u.meta.fw IS NOT NULL;
INSERT INTO spread_out
SELECT gateway, seq, ch, kind, v, i FROM channel_values WHERE kind <> 'noise' OR v > 0;
INSERT INTO channel_stats
SELECT gateway, COALESCE(kind, '?'), COUNT(v), MIN(v), MAX(v) FILTER (WHERE i > 1), COUNT(DISTINCT ch) FROM channel_values GROUP BY gateway, COALESCE(kind, '?');
INSERT INTO exceeded
SELECT v.seq, l.name, l.high, v.worst FROM (SELECT seq, limits, ARRAY_MAX(channels[1].vals) AS worst FROM uplinks) AS v CROSS JOIN UNNEST(v.limits) AS l (name, high) WHERE v.worst > l.high;
INSERT INTO flag_lists
SELECT seq, ARRAY_SORT(flags, FALSE), ARRAY_REVERSE(flags), ARRAY_SLICE(flags, 1, 2), ARRAY_DISTINCT(flags), ARRAY_MAX(flags), ARRAY_INTERSECT(flags, ARRAY[1, 2, 3]), ARRAY_REMOVE(ARRAY_CONCAT(flags, ARRAY[7]), 2), ARRAY_POSITION(flags, 3) FROM uplinks WHERE flags IS NOT NULL;
INSERT INTO limit_maps
SELECT seq, ARRAY_SORT(MAP_KEYS(limits)), CARDINALITY(limits), COALESCE(limits['temp'], limits['max'] + 1), MAP_FROM_ARRAYS(ARRAY['seq', 'half'], ARRAY[seq, seq / 2]), ARRAY_CONTAINS(MAP_KEYS(limits), 'max') FROM uplinks WHERE limits IS NOT NULL AND CARDINALITY(limits) > 0;
INSERT INTO composed
SELECT seq, JSON_OBJECT(KEY 'id' VALUE gateway || '-' || CAST(seq AS STRING), KEY 'limits' VALUE JSON_OBJECT(KEY 'temp' VALUE limits['temp'] ABSENT ON NULL), KEY 'doc' VALUE JSON(CASE WHEN doc IS JSON THEN doc ELSE '{}' END), KEY 'flags' VALUE JSON_ARRAY(flags[1], flags[2], CAST(NULL AS STRING) NULL ON NULL)), JSON_ARRAY(seq, gateway, JSON_OBJECT(), TRUE) FROM uplinks;
INSERT INTO rebuilt
SELECT gateway, ROW(gateway || '/' || CAST(seq AS STRING), ts, u.meta.pos), ARRAY[ROW('fw', u.meta.fw.major), ROW('seq', seq)], MAP['flags', flags, 'seq', ARRAY[seq]] FROM uplinks AS u WHERE u.meta.fw IS NOT NULL AND flags IS NOT NULL;
INSERT INTO tag_windows
SELECT window_start, tag, MIN(gateway) || '+' || CAST(COUNT(DISTINCT gateway) AS STRING), COUNT(*) FROM TABLE(TUMBLE(TABLE uplinks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) AS w CROSS JOIN UNNEST(w.meta.tags) AS t (tag) GROUP BY window_start, window_end, tag;
INSERT INTO states_of
SELECT gateway, JSON_OBJECTAGG(KEY CAST(seq AS STRING) VALUE CARDINALITY(flags) NULL ON NULL), ARRAY_AGG(seq), LAST_VALUE(JSON_VALUE(doc, '$.device.model')) FROM uplinks GROUP BY gateway;
INSERT INTO grouped_parts
SELECT COALESCE(u.meta.fw.major, 0), ROUND(COALESCE(u.meta.pos.lat, 0), 0), COUNT(*) FROM uplinks AS u GROUP BY COALESCE(u.meta.fw.major, 0), ROUND(COALESCE(u.meta.pos.lat, 0), 0) HAVING COUNT(*) > 0;
INSERT INTO texts
SELECT seq, CAST(u.meta AS STRING), CAST(channels AS STRING), CAST(limits['temp'] AS STRING), CAST(flags AS ARRAY<STRING>), CAST(flags AS ARRAY<BIGINT>) FROM uplinks AS u;
