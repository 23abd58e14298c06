-- Aggregates, elements and grouping sets of rows that are updated: everything is retracted that is replaced.
CREATE TABLE machines (id STRING, site STRING, load DOUBLE, units DECIMAL(6, 2), tags ARRAY<STRING>, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'machines', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE spread (site STRING, lo DOUBLE, hi DOUBLE, least STRING, most DECIMAL(6, 2), sd DOUBLE, va DECIMAL(38, 18), PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'spread', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE tagged (tag STRING, machines BIGINT, PRIMARY KEY (tag) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'tagged', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE tags (id STRING, tag STRING, n INT, PRIMARY KEY (id, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'tags', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE levels (site STRING, busy BOOLEAN, g BIGINT, machines BIGINT, hi DOUBLE, PRIMARY KEY (site, busy, g) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'levels', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO spread SELECT site, MIN(load), MAX(load), MIN(id), MAX(units), STDDEV_POP(load), VAR_SAMP(units) FROM machines GROUP BY site;
INSERT INTO tagged SELECT tag, COUNT(*) FROM machines CROSS JOIN UNNEST(tags) AS u (tag) GROUP BY tag;
INSERT INTO tags SELECT id, tag, n FROM machines LEFT JOIN UNNEST(tags) WITH ORDINALITY AS u (tag, n) ON TRUE WHERE n IS NOT NULL;
INSERT INTO levels SELECT COALESCE(site, 'all'), COALESCE(load > 50, FALSE), GROUPING_ID(site, load > 50), COUNT(*), MAX(load) FROM machines GROUP BY CUBE (site, load > 50);
