package flink

import "weir.example/weir/internal/sql"

// missingFormats are formats of Weir that open-source Flink lacks.
var missingFormats = map[string]bool{"protobuf-confluent": true, "json-schema-confluent": true}

// checkFormats rejects tables with a key or value format that Flink lacks, before anything is
// deployed.
func checkFormats(s *sql.CreateTable) error {
	for _, o := range s.Options {
		if (o.Key == "format" || o.Key == "value.format" || o.Key == "key.format") && missingFormats[o.Value] {
			return sql.Errorf(o.ValuePos, "open-source Flink has no format '%s'", o.Value).
				WithHint("let a pipeline of weir run copy the topic into one in 'avro-confluent', which both have, and read that one")
		}
	}
	return nil
}
