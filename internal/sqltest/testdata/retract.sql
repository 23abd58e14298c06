-- Aggregates over updating rows: the current number of devices in each state, and groups of groups.
CREATE TABLE states (device_id STRING, state STRING, n INT, price DECIMAL(8, 2), x DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = 'states', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE VIEW latest AS SELECT device_id, state, n, price, x FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM states) WHERE rn = 1;
CREATE TABLE in_state (state STRING, devices BIGINT, total INT, prices DECIMAL(20, 2), mean DOUBLE, low INT, high DOUBLE, PRIMARY KEY (state) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'in_state', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE spread (k STRING, states BIGINT, ns BIGINT, big BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'spread', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE histogram (readings BIGINT, devices BIGINT, PRIMARY KEY (readings) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'histogram', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE known_states (state STRING, PRIMARY KEY (state) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'known_states', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE busiest (state STRING, most BIGINT, PRIMARY KEY (state) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busiest', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO in_state SELECT state, COUNT(*), SUM(n), SUM(price), AVG(x), MIN(n), MAX(x) FROM latest GROUP BY state;
INSERT INTO spread SELECT k, COUNT(DISTINCT state), COUNT(DISTINCT n), COUNT(*) FILTER (WHERE n > 5) FROM (SELECT 'all' AS k, state, n FROM latest) GROUP BY k;
INSERT INTO histogram SELECT c, COUNT(*) FROM (SELECT device_id, COUNT(*) AS c FROM states GROUP BY device_id) GROUP BY c;
INSERT INTO known_states SELECT DISTINCT state FROM latest;
INSERT INTO busiest SELECT state, MAX(c) FROM (SELECT device_id, state, COUNT(*) AS c FROM states GROUP BY device_id, state) GROUP BY state HAVING MAX(c) > 1;
