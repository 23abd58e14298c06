-- Without a watermark, state expires by the time of the transaction.
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE readings (id STRING, site STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json');
CREATE TABLE devices (id STRING, owner STRING, PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json');

CREATE TABLE counts (id STRING, n BIGINT, sites BIGINT, PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO counts SELECT id, COUNT(*), COUNT(DISTINCT site) FROM readings GROUP BY id;

CREATE TABLE seen (id STRING) WITH ('connector' = 'kafka', 'topic' = 'seen', 'format' = 'json');
INSERT INTO seen SELECT DISTINCT id FROM readings;

CREATE TABLE best (id STRING, v INT, PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'best', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO best SELECT id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY v DESC) AS n FROM readings) WHERE n = 1;

-- The rows of each owner, counted from an upsert table: a device whose row has expired is counted again.
CREATE TABLE owners (owner STRING, n BIGINT, PRIMARY KEY (owner) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'owners', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO owners SELECT owner, COUNT(*) FROM devices GROUP BY owner;

CREATE TABLE events (id STRING, e STRING) WITH ('connector' = 'kafka', 'topic' = 'events', 'format' = 'json');
CREATE TABLE pairs (id STRING, e STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'pairs', 'format' = 'json');
INSERT INTO pairs SELECT readings.id, e, v FROM readings JOIN events ON readings.id = events.id;

CREATE TABLE known (id STRING, e STRING) WITH ('connector' = 'kafka', 'topic' = 'known', 'format' = 'json');
INSERT INTO known SELECT id, e FROM events WHERE id IN (SELECT id FROM readings);

-- The two devices with the most readings per site.
CREATE TABLE busiest (site STRING, n BIGINT, id STRING, c BIGINT, PRIMARY KEY (site, n) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'busiest', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO busiest SELECT site, n, id, c FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY site ORDER BY c DESC) AS n FROM (SELECT site, id, COUNT(*) AS c FROM readings GROUP BY site, id)
) WHERE n <= 2;
