package reading

import _ "embed" // the schemas

// SchemaName is the full name of a reading in each of its schemas.
const SchemaName = "weir.SensorReading"

// The schemas of a reading, for a schema registry.
var (
	//go:embed reading.avsc
	AvroSchema string
	//go:embed reading.proto
	ProtobufSchema string
	//go:embed reading.schema.json
	JSONSchema string
)
