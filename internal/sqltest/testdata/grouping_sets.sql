-- Totals and subtotals of a window in one query: GROUPING SETS, ROLLUP, CUBE.
CREATE TABLE readings (
  device_id STRING, sensor STRING, n INT, price DECIMAL(6, 2), ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE totals (since TIMESTAMP(3), device_id STRING, price DECIMAL(20, 2)) WITH ('connector' = 'kafka', 'topic' = 'totals', 'format' = 'json');
CREATE TABLE levels (since TIMESTAMP(3), device_id STRING, sensor STRING, c BIGINT, g BIGINT, gs BIGINT) WITH ('connector' = 'kafka', 'topic' = 'levels', 'format' = 'json');
CREATE TABLE cubes (until_ TIMESTAMP(3), device_id STRING, sensor STRING, highest INT) WITH ('connector' = 'kafka', 'topic' = 'cubes', 'format' = 'json');
CREATE TABLE products (since TIMESTAMP(3), device_id STRING, sensor STRING, c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'products', 'format' = 'json');
INSERT INTO totals SELECT window_start, device_id, SUM(price) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, GROUPING SETS ((device_id), ());
INSERT INTO levels SELECT window_start, device_id, sensor, COUNT(*), GROUPING(device_id), GROUPING_ID(device_id, sensor)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, ROLLUP (device_id, sensor);
INSERT INTO cubes SELECT window_end, device_id, sensor, MAX(n) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, CUBE (device_id, sensor) HAVING COUNT(*) > 1;
INSERT INTO products SELECT window_start, device_id, sensor, COUNT(DISTINCT n) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY GROUPING SETS ((window_start, window_end, device_id), (window_start, window_end, sensor));
