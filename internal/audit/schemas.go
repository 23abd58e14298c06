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

// schemas turns readings that carry the id of their schema into the JSON that the decoder reads,
// each by the schema it was written with, through the generic ways of the libraries: slow, and none
// of ours.
type schemas struct {
	ctx    context.Context
	client *sr.Client
	known  map[int]schemaDecoder
}

// schemaDecoder turns what is behind a record's id into JSON.
type schemaDecoder func(body []byte) ([]byte, error)

var errUndecodable = errors.New("it can't be decoded by its schema")

// json returns a record's value as JSON. The error is errUndecodable where the value is at fault,
// and any other one where the registry gave no answer.
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

// lookup makes the decoder of a schema: nil for an id that is not there, and for what is no schema.
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
		return json.Marshal(fields) // a value that is not finite has no JSON
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

// messageOf reads which message of the file follows: zigzag varints behind their count, 0 for the
// first message alone.
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

// numbers makes numbers of the integers of 64 bits, which Protobuf's JSON writes as texts.
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
