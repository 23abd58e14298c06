package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// JSON decodes a key or value in the wire format with the schema that it was written with, for
// display. ok is false if it has no header, or an unknown id: it is then other data that happens to
// start with a 0.
func (c *Client) JSON(ctx context.Context, data []byte) (text []byte, ok bool, err error) {
	id, body, headErr := ReadHeader(data)
	if headErr != nil {
		return nil, false, nil
	}
	known, found := c.viewers.Load(id)
	if !found {
		s, err := c.Schema(ctx, id)
		if err != nil {
			return nil, false, err
		}
		read, err := s.Viewer(ctx)
		if err != nil {
			return nil, true, fmt.Errorf("schema %d: %w", id, err)
		}
		known, _ = c.viewers.LoadOrStore(id, read)
	}
	text, err = known.(func([]byte) ([]byte, error))(body) //nolint:forcetypeassert // stored above
	if err != nil {
		return nil, true, fmt.Errorf("schema %d: %w", id, err)
	}
	return text, true, nil
}

// Viewer compiles a schema and returns a function that converts what follows the header of a key or
// value to JSON for display.
func (s *Schema) Viewer(ctx context.Context) (func(body []byte) ([]byte, error), error) {
	switch s.Type {
	case Avro:
		return s.avroViewer()
	case Protobuf:
		file, err := s.CompileProtobuf(ctx)
		return func(body []byte) ([]byte, error) { return protobufJSON(file, body) }, err
	default:
		return func(body []byte) ([]byte, error) { return bytes.TrimSpace(body), nil }, nil
	}
}

func protobufJSON(file protoreflect.FileDescriptor, body []byte) ([]byte, error) {
	path, body, err := ReadMessagePath(nil, body)
	if err != nil {
		return nil, err
	}
	m := MessageAt(file, path)
	if m == nil {
		return nil, fmt.Errorf("no message %v in the schema", path)
	}
	message := dynamicpb.NewMessage(m)
	if err := proto.Unmarshal(body, message); err != nil {
		return nil, err
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(message)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer // protojson inserts random white space
	err = json.Compact(&compact, text)
	return compact.Bytes(), err
}
