SET 'pipeline.name' = '{{.ID}}';

{{template "source.sql" .}}

CREATE TABLE per_window (
  device_id STRING,
  window_start TIMESTAMP(3),
  window_end TIMESTAMP(3),
  readings BIGINT,
  lowest DOUBLE,
  highest DOUBLE,
  mean DOUBLE
) WITH (
{{template "sink.sql" .}}
);

INSERT INTO per_window
SELECT device_id, window_start, window_end, COUNT(*), MIN(`value`), MAX(`value`), AVG(`value`)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '{{.Window.Seconds}}' SECOND))
GROUP BY device_id, window_start, window_end;
