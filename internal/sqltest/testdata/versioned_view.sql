-- Versions are the rows that a deduplication by time reads. Keys may be nested in a ROW, or computed.
CREATE TABLE orders (id INT, item ROW<code STRING, n INT>, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH (
  'connector' = 'kafka', 'topic' = 'orders', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE prices (code STRING, price INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH (
  'connector' = 'kafka', 'topic' = 'prices', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE VIEW latest AS SELECT code, price * 10 AS cents, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY code ORDER BY ts DESC) AS n FROM prices WHERE price > 0) WHERE n = 1;
CREATE VIEW latest_star AS SELECT * FROM (SELECT code, ts, price, ROW_NUMBER() OVER (PARTITION BY code ORDER BY ts DESC) AS n FROM prices) WHERE n <= 1;
CREATE TABLE joined (id INT, cents INT, since TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'joined', 'value.format' = 'json');
CREATE TABLE left_joined (id INT, cents INT) WITH ('connector' = 'kafka', 'topic' = 'left_joined', 'value.format' = 'json');
CREATE TABLE upper_joined (id INT, price INT, n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'upper_joined', 'value.format' = 'json');
CREATE TABLE per_minute (e TIMESTAMP(3), s INT) WITH ('connector' = 'kafka', 'topic' = 'per_minute', 'value.format' = 'json');
CREATE VIEW priced AS SELECT o.id, o.ts, p.cents FROM orders AS o JOIN latest FOR SYSTEM_TIME AS OF o.ts AS p ON o.item.code = p.code;
INSERT INTO joined SELECT o.id, p.cents, p.ts FROM orders AS o JOIN latest FOR SYSTEM_TIME AS OF o.ts AS p ON p.code = o.item.code;
INSERT INTO left_joined SELECT o.id, p.cents FROM orders AS o LEFT JOIN latest FOR SYSTEM_TIME AS OF o.ts AS p ON p.code = o.item.code AND p.cents > 15;
INSERT INTO upper_joined SELECT o.id, p.price, p.n FROM orders AS o LEFT JOIN latest_star FOR SYSTEM_TIME AS OF o.ts AS p ON p.code = LOWER(o.item.code);
INSERT INTO per_minute SELECT window_end, SUM(cents) FROM TABLE(TUMBLE(TABLE priced, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
