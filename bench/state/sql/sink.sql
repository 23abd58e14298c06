
  'topic' = '{{.ID}}',
  'properties.bootstrap.servers' = '{{.Brokers}}',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = '{{.ID}}'
