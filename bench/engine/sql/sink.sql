{{- /* Keyed by device as the source is, so that a device's results stay in order; Kafka Streams does the same. */ -}}
{{"  "}}'connector' = 'kafka',
  'topic' = '{{.Sink}}',
  'properties.bootstrap.servers' = '{{.Brokers}}',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = '{{.ID}}'{{/* the line ends where it is used */ -}}
