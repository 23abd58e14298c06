-- Aggregate functions whose results grow with their rows: groups, windows of each kind, OVER, with repeats, NULL, FILTER and DISTINCT.
CREATE TABLE readings (
  device_id STRING, code STRING, n INT, x DOUBLE, ok BOOLEAN, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE per_device (d STRING, codes STRING, piped STRING, distinct_codes STRING, ns ARRAY<INT>, present ARRAY<INT>, fine ARRAY<INT>, med DOUBLE, spread ARRAY<DOUBLE>, js STRING, PRIMARY KEY (d) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'per_device', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE tumbles (s TIMESTAMP(3), d STRING, codes STRING, distinct_codes STRING, ns ARRAY<INT>, med DOUBLE, js STRING) WITH ('connector' = 'kafka', 'topic' = 'tumbles', 'format' = 'json');
CREATE TABLE hops (s TIMESTAMP(3), d STRING, codes STRING, ns ARRAY<INT>, med DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'hops', 'format' = 'json');
CREATE TABLE distinct_hops (s TIMESTAMP(3), d STRING, codes STRING) WITH ('connector' = 'kafka', 'topic' = 'distinct_hops', 'format' = 'json');
CREATE TABLE cumulates (s TIMESTAMP(3), e TIMESTAMP(3), d STRING, codes STRING, med DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'cumulates', 'format' = 'json');
CREATE TABLE sessions (s TIMESTAMP(3), e TIMESTAMP(3), d STRING, codes STRING, distinct_codes STRING, ns ARRAY<INT>, med DOUBLE, c BIGINT, kinds BIGINT) WITH ('connector' = 'kafka', 'topic' = 'sessions', 'format' = 'json');
CREATE TABLE overs (d STRING, ts TIMESTAMP(3), last3 STRING, ns ARRAY<INT>, med DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'overs', 'format' = 'json');
CREATE TABLE so_far (d STRING, ts TIMESTAMP(3), codes STRING, ns ARRAY<INT>, med DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'so_far', 'format' = 'json');
INSERT INTO per_device SELECT device_id, LISTAGG(code), LISTAGG(code, ' | '), LISTAGG(DISTINCT code, '+'), ARRAY_AGG(n), ARRAY_AGG(n) IGNORE NULLS, ARRAY_AGG(n) FILTER (WHERE ok),
  PERCENTILE(n, 0.5), PERCENTILE(x, ARRAY[0.0, 0.25, 1.0]), JSON_ARRAYAGG(code NULL ON NULL) FROM readings GROUP BY device_id;
INSERT INTO tumbles SELECT window_start, device_id, LISTAGG(code), LISTAGG(DISTINCT code), ARRAY_AGG(n), PERCENTILE(x, 0.5), JSON_ARRAYAGG(code)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, device_id;
INSERT INTO hops SELECT window_start, device_id, LISTAGG(code), ARRAY_AGG(n), PERCENTILE(x, 0.5)
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)) GROUP BY window_start, window_end, device_id;
INSERT INTO distinct_hops SELECT window_start, device_id, LISTAGG(DISTINCT code)
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)) GROUP BY window_start, window_end, device_id;
INSERT INTO cumulates SELECT window_start, window_end, device_id, LISTAGG(code, ''), PERCENTILE(x, 0.5)
FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY window_start, window_end, device_id;
INSERT INTO sessions SELECT window_start, window_end, device_id, LISTAGG(code), LISTAGG(DISTINCT code), ARRAY_AGG(n), PERCENTILE(x, 0.5), COUNT(*), COUNT(DISTINCT code)
FROM TABLE(SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY device_id, window_start, window_end;
INSERT INTO overs SELECT device_id, ts, LISTAGG(code) OVER w, ARRAY_AGG(n) OVER w, PERCENTILE(x, 0.5) OVER w FROM readings WINDOW w AS (PARTITION BY device_id ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);
INSERT INTO so_far SELECT device_id, ts, LISTAGG(code) OVER w, ARRAY_AGG(n) OVER w, PERCENTILE(x, 0.5) OVER w FROM readings WINDOW w AS (PARTITION BY device_id ORDER BY ts);
