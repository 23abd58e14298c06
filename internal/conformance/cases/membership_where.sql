-- IN and EXISTS in WHERE beside OR and NOT, in groups and in ON.
CREATE TABLE orders (id INT, item STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'orders', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE items (item STRING, price INT) WITH ('connector' = 'kafka', 'topic' = 'items', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE stock (id INT, item STRING, n INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'stock', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE blocked (code INT, item STRING, since INT, PRIMARY KEY (code) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'blocked', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE passed (kind STRING, id INT, item STRING, PRIMARY KEY (kind, id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'passed', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE sums (kind STRING, k STRING, n BIGINT, PRIMARY KEY (kind, k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sums', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE pairs (kind STRING, id INT, other INT, PRIMARY KEY (kind, id, other) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'pairs', 'key.format' = 'json', 'value.format' = 'json');
-- In WHERE, where NULL is FALSE.
INSERT INTO passed SELECT 'or in', id, item FROM orders WHERE n > 5 OR item IN (SELECT item FROM items);
INSERT INTO passed SELECT 'or not in', id, item FROM orders WHERE n > 5 OR item NOT IN (SELECT item FROM items);
INSERT INTO passed SELECT 'or not blocked', id, item FROM stock WHERE n > 5 OR item NOT IN (SELECT item FROM blocked WHERE since > 0);
INSERT INTO passed SELECT 'not and', id, item FROM orders WHERE NOT (n > 1 AND item IN (SELECT item FROM blocked));
INSERT INTO passed SELECT 'or exists', id, item FROM stock WHERE n > 5 OR EXISTS (SELECT 1 FROM blocked WHERE since > 5);
INSERT INTO passed SELECT 'or not exists', id, item FROM orders WHERE n > 5 OR NOT EXISTS (SELECT 1 FROM blocked WHERE since > 5);
INSERT INTO passed SELECT 'row', id, item FROM orders WHERE n > 100 OR (item, n) IN (SELECT item, price FROM items);
INSERT INTO passed SELECT 'several', id, item FROM orders WHERE item IN (SELECT item FROM blocked) OR n IN (SELECT price FROM items) OR n > (SELECT MAX(price) FROM items);
INSERT INTO passed SELECT 'nested', id, item FROM orders WHERE n > 5 OR item IN (SELECT item FROM items WHERE price > 5 OR item IN (SELECT item FROM blocked));
INSERT INTO passed SELECT 'nested semi', id, item FROM orders WHERE item IN (SELECT item FROM items WHERE price > 5 OR item IN (SELECT item FROM blocked));
INSERT INTO passed SELECT 'nested exists', id, item FROM orders AS o WHERE EXISTS (SELECT 1 FROM items AS i WHERE i.item = o.item AND (price > 5 OR item IN (SELECT item FROM blocked)));
-- In groups.
INSERT INTO sums SELECT 'group', CASE WHEN item IN (SELECT item FROM blocked) THEN 'blocked' ELSE 'free' END, COUNT(*) FROM orders GROUP BY CASE WHEN item IN (SELECT item FROM blocked) THEN 'blocked' ELSE 'free' END;
INSERT INTO sums SELECT 'filter', COALESCE(item, '?'), COUNT(*) FILTER (WHERE n NOT IN (SELECT price FROM items)) FROM orders GROUP BY COALESCE(item, '?');
INSERT INTO sums SELECT 'argument', COALESCE(item, '?'), SUM(CASE WHEN item IN (SELECT item FROM blocked) THEN n ELSE 0 END) FROM stock GROUP BY COALESCE(item, '?');
INSERT INTO sums SELECT 'having', COALESCE(item, '?'), COUNT(*) FROM orders GROUP BY COALESCE(item, '?') HAVING COUNT(*) > 1 OR MAX(n) NOT IN (SELECT price FROM items);
INSERT INTO sums SELECT 'having exists', COALESCE(item, '?'), COUNT(*) FROM orders GROUP BY COALESCE(item, '?') HAVING COUNT(*) > 1 OR NOT EXISTS (SELECT 1 FROM blocked WHERE since > 5);
INSERT INTO sums SELECT 'of the group', COALESCE(item, '?'), CASE WHEN COALESCE(item, '?') IN (SELECT item FROM blocked) THEN COUNT(*) ELSE -1 END FROM stock GROUP BY COALESCE(item, '?');
-- In ON.
INSERT INTO pairs SELECT 'inner', o.id, s.id FROM orders AS o JOIN stock AS s ON o.item = s.item AND (o.n > 5 OR EXISTS (SELECT 1 FROM blocked WHERE since > 5));
INSERT INTO pairs SELECT 'left', o.id, COALESCE(s.id, -1) FROM orders AS o LEFT JOIN stock AS s ON o.item = s.item AND (s.n > 2 OR NOT EXISTS (SELECT 1 FROM blocked WHERE since > 5));
INSERT INTO pairs SELECT 'right', COALESCE(o.id, -1), s.id FROM orders AS o RIGHT JOIN stock AS s ON o.item = s.item AND o.n < (SELECT MAX(since) FROM blocked);
INSERT INTO pairs SELECT 'full', COALESCE(o.id, -1), COALESCE(s.id, -1) FROM orders AS o FULL JOIN stock AS s ON o.item = s.item AND (o.n > 2 OR s.n > (SELECT MAX(since) FROM blocked));
-- With columns of the query around.
INSERT INTO sums SELECT 'filter related', COALESCE(item, '?'), COUNT(*) FILTER (WHERE EXISTS (SELECT 1 FROM blocked AS b WHERE b.item = s.item)) FROM stock AS s GROUP BY COALESCE(item, '?');
