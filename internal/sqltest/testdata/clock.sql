-- The time of the transaction: filters, columns, a group's last change, and a column of the table.
CREATE TABLE readings (device_id STRING, n INT, ts TIMESTAMP_LTZ(3), arrived AS PROCTIME(), WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE recent (d STRING, n INT, at_time TIMESTAMP_LTZ(3), delay INT, same BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'recent', 'format' = 'json');
CREATE TABLE latest (d STRING, c BIGINT, first_seen TIMESTAMP_LTZ(3), last_seen TIMESTAMP_LTZ(3), PRIMARY KEY (d) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'latest', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE by_arrival (seen TIMESTAMP_LTZ(3), c BIGINT, PRIMARY KEY (seen) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'by_arrival', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sampled (small BOOLEAN, valid BOOLEAN, c BIGINT, PRIMARY KEY (small, valid) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'sampled', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO recent SELECT device_id, n, NOW(), TIMESTAMPDIFF(SECOND, ts, CURRENT_TIMESTAMP), arrived = CURRENT_ROW_TIMESTAMP() FROM readings WHERE ts > NOW() - INTERVAL '1' MINUTE;
INSERT INTO latest SELECT device_id, COUNT(*), MIN(seen), MAX(seen) FROM (SELECT device_id, NOW() AS seen FROM readings) GROUP BY device_id;
INSERT INTO by_arrival SELECT arrived, COUNT(*) FROM readings GROUP BY arrived;
INSERT INTO sampled SELECT small, valid, COUNT(*) FROM (SELECT r < 0.5 AS small, r >= 0 AND r < 1 AND CHAR_LENGTH(id) = 36 AS valid FROM (SELECT RAND() AS r, UUID() AS id FROM readings) WHERE r < 0.5) GROUP BY small, valid;
