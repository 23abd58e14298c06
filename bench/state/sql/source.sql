
  'properties.bootstrap.servers' = '{{.Brokers}}',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
{{- if .Bounded}}
  'scan.bounded.mode' = 'latest-offset',
{{- end}}
  'scan.startup.mode' = 'earliest-offset'
