-- A test sends the rows of a generated table.
CREATE TABLE orders (id INT, price DECIMAL(8, 2), ts AS LOCALTIMESTAMP, WATERMARK FOR ts AS ts) WITH (
  'connector' = 'datagen', 'rows-per-second' = '5', 'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '1000');
CREATE TABLE seen (n BIGINT, total DECIMAL(38, 2), w TIMESTAMP(3)) WITH ('connector' = 'print');
INSERT INTO seen SELECT COUNT(*), SUM(price), window_start FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
