-- Collecting functions over rows that are updated and deleted: their values are sorted.
CREATE TABLE devices (device_id STRING, site STRING, state STRING, n INT, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sites (site STRING, devices STRING, states STRING, ns ARRAY<INT>, med DOUBLE, weighted DOUBLE, js STRING, c BIGINT, PRIMARY KEY (site) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'sites', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE by_site (k STRING, sites STRING, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'by_site', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO sites SELECT site, LISTAGG(device_id), LISTAGG(DISTINCT state, '/'), ARRAY_AGG(n), PERCENTILE(n, 0.5), PERCENTILE(n, 0.5, n), JSON_OBJECTAGG(KEY device_id VALUE state), COUNT(*) FROM devices GROUP BY site;
INSERT INTO by_site SELECT k, LISTAGG(text, '; ') FROM (SELECT 'all' AS k, site || '=' || CAST(COUNT(*) AS STRING) AS text FROM devices GROUP BY site) GROUP BY k;
