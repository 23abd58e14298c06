-- The key columns of an upsert table may have wider types than the columns that rows are grouped by.
SET 'pipeline.name' = 'wider-key';

CREATE TABLE numbers (
  id BIGINT,
  n INT,
  small SMALLINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'numbers',
  'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE counts (
  remainder BIGINT,
  small INT,
  c BIGINT,
  PRIMARY KEY (remainder, small) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'counts',
  'key.format' = 'json',
  'value.format' = 'json'
);

INSERT INTO counts
SELECT MOD(n, 3), small, COUNT(*)
FROM numbers
GROUP BY MOD(n, 3), small;
