CREATE TABLE orders (id INT, item STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'orders', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE items (item STRING, price INT) WITH ('connector' = 'kafka', 'topic' = 'items', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (kind STRING, id INT, item STRING, price INT) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
CREATE TABLE totals (item STRING, orders_ BIGINT, price INT, PRIMARY KEY (item) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'totals', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE missing (n BIGINT, k INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'missing', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO results SELECT 'inner', o.id, o.item, i.price FROM orders o JOIN items i ON o.item = i.item AND o.n < i.price;
INSERT INTO results SELECT 'comma', o.id, o.item, i.price FROM orders o, items i WHERE o.item = i.item AND o.n > 1;
INSERT INTO totals SELECT o.item, o.c, i.p FROM (SELECT item, COUNT(*) AS c FROM orders GROUP BY item) AS o LEFT JOIN (SELECT item, MAX(price) AS p FROM items GROUP BY item) AS i ON o.item = i.item;
INSERT INTO missing SELECT COUNT(*), k FROM (SELECT o.id, 1 AS k FROM orders o LEFT JOIN items i ON o.item = i.item WHERE i.item IS NULL) GROUP BY k;
