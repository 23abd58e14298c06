-- IN and EXISTS as values, whose sets come and go.
CREATE TABLE orders (id INT, item STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'orders', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE items (item STRING, price INT) WITH ('connector' = 'kafka', 'topic' = 'items', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE stock (id INT, item STRING, n INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'stock', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE blocked (code INT, item STRING, since INT, PRIMARY KEY (code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'blocked', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE flags (kind STRING, id INT, item STRING, flag BOOLEAN, PRIMARY KEY (kind, id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'flags', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO flags SELECT 'not in', id, item, item NOT IN (SELECT item FROM items) FROM orders;
INSERT INTO flags SELECT 'stock not blocked', id, item, item NOT IN (SELECT item FROM blocked WHERE since > 0) FROM stock;
INSERT INTO flags SELECT 'exists', id, item, EXISTS (SELECT * FROM blocked WHERE since > 5) FROM stock;
INSERT INTO flags SELECT 'related', id, item, n NOT IN (SELECT since FROM blocked AS b WHERE b.item = s.item) FROM stock AS s WHERE n IS NOT NULL;
INSERT INTO flags SELECT 'or not', id, item, TRUE FROM stock WHERE n > 5 OR item NOT IN (SELECT item FROM blocked WHERE since > 0);
