-- Elements of a MULTISET without a number, and more of them than one row may become. Of several members of a JSON object with one name, the last counts.
CREATE TABLE bags (id INT, bag MULTISET<STRING>, m MAP<STRING, INT>) WITH ('connector' = 'kafka', 'topic' = 'bags', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE unpacked (id INT, v STRING) WITH ('connector' = 'kafka', 'topic' = 'unpacked', 'format' = 'json');
CREATE TABLE copied (id INT, bag MULTISET<STRING>, m MAP<STRING, INT>, x INT, c STRING) WITH ('connector' = 'kafka', 'topic' = 'copied', 'format' = 'json');
INSERT INTO unpacked SELECT id, v FROM bags CROSS JOIN UNNEST(bag) AS u (v);
INSERT INTO copied SELECT id, bag, m, m['x'], CAST(bag AS STRING) FROM bags;
