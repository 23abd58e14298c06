-- IN and EXISTS as columns: over sets with NULL, without rows, and with rows that come and go.
CREATE TABLE orders (id INT, item STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'orders', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE items (item STRING, price INT) WITH ('connector' = 'kafka', 'topic' = 'items', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE stock (id INT, item STRING, n INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'stock', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE blocked (code INT, item STRING, since INT, PRIMARY KEY (code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'blocked', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE flags (kind STRING, id INT, item STRING, flag BOOLEAN, PRIMARY KEY (kind, id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'flags', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE nothing (kind STRING, id INT, item STRING, flag BOOLEAN, PRIMARY KEY (kind, id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'nothing', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE related (kind STRING, id INT, item STRING, flag BOOLEAN, PRIMARY KEY (kind, id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'related', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE related_in (kind STRING, id INT, item STRING, flag BOOLEAN, PRIMARY KEY (kind, id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'related_in', 'key.format' = 'json', 'value.format' = 'json');
-- Each set is another one: with a NULL, without one, with rows that are deleted.
INSERT INTO flags SELECT 'in', id, item, item IN (SELECT item FROM items) FROM orders;
INSERT INTO flags SELECT 'in priced', id, item, item IN (SELECT item FROM items WHERE price < 15) FROM orders;
INSERT INTO flags SELECT 'not in', id, item, item NOT IN (SELECT item FROM items) FROM orders;
INSERT INTO flags SELECT 'not blocked', id, item, item NOT IN (SELECT item FROM blocked WHERE since > 0) FROM orders;
INSERT INTO flags SELECT 'stock blocked', id, item, item IN (SELECT item FROM blocked) FROM stock;
INSERT INTO flags SELECT 'stock not blocked', id, item, item NOT IN (SELECT item FROM blocked WHERE since > 0) FROM stock;
INSERT INTO flags SELECT 'exists', id, item, EXISTS (SELECT * FROM blocked WHERE since > 5) FROM stock;
INSERT INTO flags SELECT 'not exists', id, item, NOT EXISTS (SELECT * FROM blocked WHERE since > 100) FROM orders;
INSERT INTO flags SELECT 'unknown', id, item, (item IN (SELECT item FROM items)) IS UNKNOWN FROM orders;
INSERT INTO flags SELECT 'both', id, item, item IN (SELECT item FROM items) AND n NOT IN (SELECT since FROM blocked) FROM orders;
INSERT INTO flags SELECT 'case', id, item, CASE WHEN item IN (SELECT item FROM blocked) THEN n > 2 WHEN EXISTS (SELECT 1 FROM items WHERE price > 100) THEN n < 2 ELSE item NOT IN (SELECT item FROM items WHERE item IS NOT NULL) END FROM stock;
INSERT INTO flags SELECT 'constant', id, item, 10 NOT IN (SELECT price FROM items) FROM orders;
INSERT INTO flags SELECT 'of groups', id, item, item IN (SELECT item FROM orders GROUP BY item HAVING COUNT(*) > 1) FROM stock;
-- Of sets without rows, or whose rows are all deleted: Flink loses the rows that are compared with them.
INSERT INTO nothing SELECT 'never', id, item, item NOT IN (SELECT item FROM items WHERE price > 100) FROM orders;
INSERT INTO nothing SELECT 'no more', id, item, item NOT IN (SELECT item FROM blocked WHERE since > 100) FROM orders;
INSERT INTO nothing SELECT 'or', id, item, TRUE FROM orders WHERE n > 5 OR item IN (SELECT item FROM items WHERE price > 100);
INSERT INTO nothing SELECT 'related', id, item, n IN (SELECT price FROM items AS i WHERE i.item = o.item) FROM orders AS o;
-- With columns of the query around.
INSERT INTO related SELECT 'exists', id, item, EXISTS (SELECT 1 FROM blocked AS b WHERE b.item = s.item AND since > 0) FROM stock AS s;
INSERT INTO related SELECT 'not exists', id, item, NOT EXISTS (SELECT * FROM items AS i WHERE i.item = o.item AND price > 5) FROM orders AS o;
INSERT INTO related SELECT 'or', id, item, TRUE FROM orders AS o WHERE n > 5 OR EXISTS (SELECT 1 FROM blocked AS b WHERE b.item = o.item);
INSERT INTO related SELECT 'or not', id, item, TRUE FROM stock AS s WHERE n > 5 OR NOT EXISTS (SELECT 1 FROM blocked AS b WHERE b.item = s.item AND b.since = s.n);
INSERT INTO related_in SELECT 'in', id, item, n IN (SELECT price FROM items AS i WHERE i.item = o.item) FROM orders AS o WHERE n IS NOT NULL;
INSERT INTO related_in SELECT 'not in', id, item, n NOT IN (SELECT since FROM blocked AS b WHERE b.item = s.item) FROM stock AS s WHERE n IS NOT NULL;
INSERT INTO related_in SELECT 'or', id, item, TRUE FROM orders AS o WHERE n > 5 OR n IN (SELECT price FROM items AS i WHERE i.item = o.item);
INSERT INTO related_in SELECT 'or not', id, item, TRUE FROM orders AS o WHERE n > 7 OR COALESCE(n, 0) NOT IN (SELECT since FROM blocked AS b WHERE b.item = o.item);
