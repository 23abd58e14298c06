package produce

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/registry"
	"weir.example/weir/reading"
)

// Encoding encodes readings as record values. It is used by one goroutine.
type Encoding interface {
	// Append appends the encoding of a valid reading to dst.
	Append(dst []byte, r *reading.Reading) ([]byte, error)
}

type jsonEncoding struct{}

func (jsonEncoding) Append(dst []byte, r *reading.Reading) ([]byte, error) {
	return r.AppendJSON(dst), nil
}

// Formats lists the formats of readings. All but json have a schema in a registry.
var Formats = []string{"json", "avro-confluent", "protobuf-confluent", "json-schema-confluent"}

// Registered configures an encoding with a registered schema.
type Registered struct {
	Format   string // one of Formats
	Topic    string
	Strategy registry.Strategy // naming strategy of the subject
	Logger   *slog.Logger
}

// fields are the columns of a reading.
var fields = []format.Field{
	{Name: "device_id", Type: column.Of(column.String).Nullable(false)},
	{Name: "sensor", Type: column.Of(column.String).Nullable(false)},
	{Name: "value", Type: column.Of(column.Double).Nullable(false)},
	{Name: "unit", Type: column.Of(column.String).Nullable(false)},
	{Name: "ts", Type: column.OfTime(column.TimestampLTZ, 3).Nullable(false)},
	{Name: "seq", Type: column.Of(column.BigInt).Nullable(false)},
	{Name: "boot", Type: column.Of(column.String).Nullable(false)},
}

// Register registers the schema of readings and returns their encoding. While the registry is
// unavailable it retries, with warnings in the log.
func Register(ctx context.Context, client *registry.Client, r Registered) (Encoding, error) {
	schema := registry.Schema{}
	switch r.Format {
	case "json":
		return jsonEncoding{}, nil
	case "avro-confluent":
		schema.Type, schema.Text = registry.Avro, reading.AvroSchema
	case "protobuf-confluent":
		schema.Type, schema.Text = registry.Protobuf, reading.ProtobufSchema
	case "json-schema-confluent":
		schema.Type, schema.Text = registry.JSON, reading.JSONSchema
	default:
		return nil, fmt.Errorf("unknown format %q", r.Format)
	}
	subject, err := r.Strategy.Subject(r.Topic, reading.SchemaName, false)
	if err != nil {
		return nil, err
	}
	id, err := registry.UntilAvailable(ctx, func() (int, error) { return client.Register(ctx, subject, &schema) }, func(err error, pause time.Duration) {
		if r.Logger != nil {
			r.Logger.Warn("waiting for the schema registry before the first reading", "err", err, "subject", subject, "in", pause.Round(time.Millisecond))
		}
	})
	if err != nil {
		return nil, err
	}
	return newEncoding(r.Format, schema.Text, id)
}

// rowEncoding encodes readings as rows in a table format.
type rowEncoding struct {
	encoder format.Encoder
	cols    []*column.Column
}

func newEncoding(name, schema string, id int) (Encoding, error) {
	const url, subject = "http://registry", "reading" // placeholders: the schema id is already known
	known := format.NewSchemas()
	known.SetWriter(url, subject, id)
	options := format.Options{"url": url, "subject": subject, "schema": schema}
	if name == "json-schema-confluent" {
		options["timestamp-format.standard"] = "ISO-8601"
	}
	encoder, err := format.NewEncoder(name, fields, options, known)
	if err != nil {
		return nil, err
	}
	e := &rowEncoding{encoder: encoder}
	for _, f := range fields {
		c := &column.Column{Type: f.Type}
		c.AddNull()
		c.Null[0] = false
		e.cols = append(e.cols, c)
	}
	return e, nil
}

// Append implements Encoding.
func (e *rowEncoding) Append(dst []byte, r *reading.Reading) ([]byte, error) {
	e.cols[0].S[0], e.cols[1].S[0], e.cols[2].F[0], e.cols[3].S[0] = r.DeviceID, r.Sensor, r.Value, r.Unit
	e.cols[4].I[0], e.cols[5].I[0], e.cols[6].S[0] = r.TS*1000, r.Seq, r.Boot
	return e.encoder.Encode(dst, e.cols, 0)
}
