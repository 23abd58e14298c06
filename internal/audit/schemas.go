package audit

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// schemas converts readings that carry a schema id to the JSON that the decoder reads, using the
// schema they were written with. It uses only the generic APIs of third-party libraries, which are
// slow but independent of Weir's code.
type schemas struct {
	ctx    context.Context
	client *sr.Client
	known  map[int]schemaDecoder
}

// schemaDecoder converts the bytes after a record's schema id to JSON.
type schemaDecoder func(body []byte) ([]byte, error)

var errUndecodable = errors.New("it can't be decoded by its schema")

// json returns a record's value as JSON. The error is errUndecodable if the value is at fault; any
// other error means that the registry failed.
func (s *schemas) json(value []byte) ([]byte, error) {
	if len(value) < 5 || value[0] != 0 {
		return nil, errUndecodable
	}
	id := int(binary.BigEndian.Uint32(value[1:]))
	decode, ok := s.known[id]
	if !ok {
		var err error
		if decode, err = s.lookup(id); err != nil {
			return nil, err
		}
		s.known[id] = decode
	}
	if decode == nil {
		return nil, errUndecodable
	}
	text, err := decode(value[5:])
	if err != nil {
		return nil, errUndecodable
	}
	return text, nil
}

// lookup returns the decoder for a schema; nil if the id does not exist or the schema is invalid.
func (s *schemas) lookup(id int) (schemaDecoder, error) {
	ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
	defer cancel()
	schema, err := s.client.SchemaByID(ctx, id)
	var answer *sr.ResponseError
	if errors.As(err, &answer) && answer.ErrorCode == 40403 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up schema %d: %w", id, err)
	}
	switch schema.Type {
	case sr.TypeProtobuf:
		return protobufDecoder(schema.Schema), nil
	case sr.TypeJSON:
		return func(body []byte) ([]byte, error) { return body, nil }, nil
	}
	return avroDecoder(schema.Schema), nil
}

func avroDecoder(text string) schemaDecoder {
	schema, err := avro.Parse(text)
	if err != nil {
		return nil
	}
	return func(body []byte) ([]byte, error) {
		var fields map[string]any
		rest, err := schema.Decode(body, &fields)
		if err != nil || len(rest) > 0 {
			return nil, errUndecodable
		}
		if ts, ok := fields["ts"].(time.Time); ok {
			fields["ts"] = ts.UTC().Format("2006-01-02T15:04:05.000Z")
		}
		return json.Marshal(fields) // fails for values that are not finite
	}
}

func protobufDecoder(text string) schemaDecoder {
	const path = "reading.proto"
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{path: text}),
	})}
	files, err := compiler.Compile(context.Background(), path)
	if err != nil {
		return nil
	}
	messages := files[0].Messages()
	return func(body []byte) ([]byte, error) {
		m, rest := messageOf(messages, body)
		if m == nil {
			return nil, errUndecodable
		}
		message := dynamicpb.NewMessage(m)
		if err := proto.Unmarshal(rest, message); err != nil {
			return nil, err
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(message)
		if err != nil {
			return nil, err
		}
		return numbers(text)
	}
}

// messageOf resolves the message indexes that precede the payload: a count and that many indexes,
// all zigzag varints. A count of 0 means the first message.
func messageOf(messages protoreflect.MessageDescriptors, body []byte) (protoreflect.MessageDescriptor, []byte) {
	next := func() (int, bool) {
		v, n := binary.Varint(body)
		if n <= 0 || v < 0 || v > 1000 {
			return 0, false
		}
		body = body[n:]
		return int(v), true
	}
	count, ok := next()
	if !ok {
		return nil, nil
	}
	path := make([]int, max(1, count))
	for i := range count {
		if path[i], ok = next(); !ok {
			return nil, nil
		}
	}
	var m protoreflect.MessageDescriptor
	for _, i := range path {
		if i >= messages.Len() {
			return nil, nil
		}
		m = messages.Get(i)
		messages = m.Messages()
	}
	return m, body
}

// numbers converts seq back to a number: Protobuf's JSON encodes 64-bit integers as strings.
func numbers(text []byte) ([]byte, error) {
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	if seq, ok := fields["seq"].(string); ok && strings.Trim(seq, "-0123456789") == "" {
		fields["seq"] = json.RawMessage(seq)
	}
	return json.Marshal(fields)
}
