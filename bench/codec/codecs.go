package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/avro"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/registry"
	"weir.example/weir/reading"
)

// codec is one way to write and read readings.
type codec struct {
	name   string
	encode func(dst []byte, r *reading.Reading) ([]byte, error)
	decode func(data []byte) error
	last   func() reading.Reading // the reading that decode has decoded
}

// check verifies that encoding and decoding are correct.
func (c *codec) check(encoded [][]byte, readings []reading.Reading) error {
	for i, data := range encoded {
		if err := c.decode(data); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		if got := c.last(); got != readings[i] {
			return fmt.Errorf("reading %d: wrote %+v, read %+v", i, readings[i], got)
		}
	}
	return nil
}

func codecs() ([]codec, error) {
	all := []codec{}
	for _, f := range []struct {
		name   string
		schema string
		typ    registry.Type
	}{
		{"json", "", ""}, {"avro-confluent", reading.AvroSchema, registry.Avro},
		{"protobuf-confluent", reading.ProtobufSchema, registry.Protobuf}, {"json-schema-confluent", reading.JSONSchema, registry.JSON},
	} {
		c, err := ours(f.name, f.schema, f.typ)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		all = append(all, c)
	}
	generic, err := avroGeneric()
	if err != nil {
		return nil, err
	}
	dynamic, err := protoGeneric()
	return append(all, encodingJSON(), generic, dynamic), err
}

var fields = []format.Field{
	{Name: "device_id", Type: column.Of(column.String).Nullable(false)}, {Name: "sensor", Type: column.Of(column.String).Nullable(false)},
	{Name: "value", Type: column.Of(column.Double).Nullable(false)}, {Name: "unit", Type: column.Of(column.String).Nullable(false)},
	{Name: "ts", Type: column.OfTime(column.TimestampLTZ, 3).Nullable(false)}, {Name: "seq", Type: column.Of(column.BigInt).Nullable(false)},
	{Name: "boot", Type: column.Of(column.String).Nullable(false)},
}

func columns() []*column.Column {
	cols := make([]*column.Column, len(fields))
	for i, f := range fields {
		cols[i] = &column.Column{Type: f.Type}
	}
	return cols
}

// ours is one of Weir's table formats.
func ours(name, schema string, typ registry.Type) (codec, error) {
	o := format.Options{}
	known := format.NewSchemas()
	if schema != "" {
		o = format.Options{"url": "http://registry", "subject": "s", "schema": schema}
		known.Add("http://registry", &registry.Schema{ID: 1, Type: typ, Text: schema})
		known.SetWriter("http://registry", "s", 1)
	}
	if typ == "" || typ == registry.JSON {
		o["timestamp-format.standard"] = "ISO-8601"
	}
	e, err := format.NewEncoder(name, fields, o, known)
	if err != nil {
		return codec{}, err
	}
	d, err := format.NewDecoder(name, fields, o, known)
	if err != nil {
		return codec{}, err
	}
	in, out := columns(), columns()
	return codec{
		name: "weir " + name,
		encode: func(dst []byte, r *reading.Reading) ([]byte, error) {
			for _, c := range in {
				c.Truncate(0)
			}
			in[0].AddText(r.DeviceID)
			in[1].AddText(r.Sensor)
			in[2].AddFloat(r.Value)
			in[3].AddText(r.Unit)
			in[4].AddInt(r.TS * 1000)
			in[5].AddInt(r.Seq)
			in[6].AddText(r.Boot)
			return e.Encode(dst, in, 0)
		},
		decode: func(data []byte) error {
			for _, c := range out {
				c.Truncate(0)
			}
			return d.Decode(data, out)
		},
		last: func() reading.Reading {
			return reading.Reading{
				DeviceID: out[0].S[0], Sensor: out[1].S[0], Value: out[2].F[0], Unit: out[3].S[0],
				TS: out[4].I[0] / 1000, Seq: out[5].I[0], Boot: out[6].S[0],
			}
		},
	}, nil
}

func encodingJSON() codec {
	type document struct {
		DeviceID string    `json:"device_id"`
		Sensor   string    `json:"sensor"`
		Value    float64   `json:"value"`
		Unit     string    `json:"unit"`
		TS       time.Time `json:"ts"`
		Seq      int64     `json:"seq"`
		Boot     string    `json:"boot"`
	}
	var out document
	return codec{
		name: "encoding/json, a struct",
		encode: func(_ []byte, r *reading.Reading) ([]byte, error) {
			return json.Marshal(document{r.DeviceID, r.Sensor, r.Value, r.Unit, time.UnixMilli(r.TS).UTC(), r.Seq, r.Boot})
		},
		decode: func(data []byte) error {
			out = document{}
			return json.Unmarshal(data, &out)
		},
		last: func() reading.Reading {
			return reading.Reading{DeviceID: out.DeviceID, Sensor: out.Sensor, Value: out.Value, Unit: out.Unit, TS: out.TS.UnixMilli(), Seq: out.Seq, Boot: out.Boot}
		},
	}
}

func avroGeneric() (codec, error) {
	schema, err := avro.Parse(reading.AvroSchema)
	var out map[string]any
	return codec{
		name: "twmb/avro, generic",
		encode: func(dst []byte, r *reading.Reading) ([]byte, error) {
			return schema.AppendEncode(registry.AppendHeader(dst, 1), map[string]any{
				"device_id": r.DeviceID, "sensor": r.Sensor, "value": r.Value, "unit": r.Unit, "ts": time.UnixMilli(r.TS), "seq": r.Seq, "boot": r.Boot,
			})
		},
		decode: func(data []byte) error {
			out = nil
			_, err := schema.Decode(data[registry.HeaderSize:], &out)
			return err
		},
		last: func() reading.Reading {
			text := func(name string) string { return out[name].(string) } //nolint:forcetypeassert // a panic fails the benchmark
			return reading.Reading{
				DeviceID: text("device_id"), Sensor: text("sensor"), Value: out["value"].(float64), Unit: text("unit"), //nolint:forcetypeassert // see above
				TS: out["ts"].(time.Time).UnixMilli(), Seq: out["seq"].(int64), Boot: text("boot"), //nolint:forcetypeassert // see above
			}
		},
	}, err
}

func protoGeneric() (codec, error) {
	s := registry.Schema{Type: registry.Protobuf, Text: reading.ProtobufSchema}
	file, err := s.CompileProtobuf(context.Background())
	if err != nil {
		return codec{}, err
	}
	m := file.Messages().Get(0)
	fd := func(name protoreflect.Name) protoreflect.FieldDescriptor { return m.Fields().ByName(name) }
	device, sensor, value, unit, ts, seq, boot := fd("device_id"), fd("sensor"), fd("value"), fd("unit"), fd("ts"), fd("seq"), fd("boot")
	seconds, nanos := ts.Message().Fields().ByNumber(1), ts.Message().Fields().ByNumber(2)
	var out *dynamicpb.Message
	return codec{
		name: "dynamicpb",
		encode: func(dst []byte, r *reading.Reading) ([]byte, error) {
			in := dynamicpb.NewMessage(m)
			in.Set(device, protoreflect.ValueOfString(r.DeviceID))
			in.Set(sensor, protoreflect.ValueOfString(r.Sensor))
			in.Set(value, protoreflect.ValueOfFloat64(r.Value))
			in.Set(unit, protoreflect.ValueOfString(r.Unit))
			at := in.Mutable(ts).Message()
			at.Set(seconds, protoreflect.ValueOfInt64(r.TS/1000))
			at.Set(nanos, protoreflect.ValueOfInt32(int32(r.TS%1000*1_000_000))) //nolint:gosec // below a second
			in.Set(seq, protoreflect.ValueOfInt64(r.Seq))
			in.Set(boot, protoreflect.ValueOfString(r.Boot))
			return proto.MarshalOptions{}.MarshalAppend(registry.AppendMessagePath(registry.AppendHeader(dst, 1), []int{0}), in)
		},
		decode: func(data []byte) error {
			out = dynamicpb.NewMessage(m)
			return proto.Unmarshal(data[registry.HeaderSize+1:], out)
		},
		last: func() reading.Reading {
			at := out.Get(ts).Message()
			return reading.Reading{
				DeviceID: out.Get(device).String(), Sensor: out.Get(sensor).String(), Value: out.Get(value).Float(), Unit: out.Get(unit).String(),
				TS: at.Get(seconds).Int()*1000 + at.Get(nanos).Int()/1_000_000, Seq: out.Get(seq).Int(), Boot: out.Get(boot).String(),
			}
		},
	}, nil
}
