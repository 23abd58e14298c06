package registry

import (
	"encoding/base64"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// IsDescriptor reports whether a Protobuf schema is a base64-encoded descriptor.
func IsDescriptor(text string) bool { return decodeDescriptor(text) != nil }

// decodeDescriptor decodes a base64-encoded file descriptor, or returns nil if text is not one. It
// fills in missing JSON names, which the compiler would treat as empty.
func decodeDescriptor(text string) *descriptorpb.FileDescriptorProto {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(b) == 0 {
		return nil
	}
	var file descriptorpb.FileDescriptorProto
	if proto.Unmarshal(b, &file) != nil || len(file.ProtoReflect().GetUnknown()) > 0 {
		return nil
	}
	nameInJSON(file.Extension)
	nameMessagesInJSON(file.MessageType)
	return &file
}

func nameMessagesInJSON(messages []*descriptorpb.DescriptorProto) {
	for _, m := range messages {
		nameInJSON(m.Field)
		nameInJSON(m.Extension)
		nameMessagesInJSON(m.NestedType)
	}
}

func nameInJSON(fields []*descriptorpb.FieldDescriptorProto) {
	for _, f := range fields {
		if f.JsonName == nil {
			f.JsonName = proto.String(jsonName(f.GetName()))
		}
	}
}

// jsonName converts snake_case to lowerCamelCase, as protoc does.
func jsonName(name string) string {
	var b strings.Builder
	up := false
	for _, c := range name {
		switch {
		case c == '_':
			up = true
		case up && 'a' <= c && c <= 'z':
			b.WriteRune(c - 'a' + 'A')
			up = false
		default:
			b.WriteRune(c)
			up = false
		}
	}
	return b.String()
}
