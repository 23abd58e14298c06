package format

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/registry"
)

// protoDecoder decodes records written with any schema of the topic into the columns of a table. It
// is not safe for concurrent use.
type protoDecoder struct {
	programs[*protoFile]
	fields []Field
	own    protoreflect.MessageDescriptor // the reader's message; nil if the table has no schema
	path   []int
}

// protoFile is a writer's schema, with a program for each message type encountered so far.
type protoFile struct {
	file    protoreflect.FileDescriptor
	first   *protoProgram
	byIndex map[string]*protoProgram
}

func newProtoDecoder(fields []Field, o Options, s *Schemas) (Decoder, error) {
	d := &protoDecoder{fields: fields}
	if o["schema"] != "" {
		var err error
		if d.own, _, err = protoOwn(fields, o); err != nil {
			return nil, err
		}
	}
	d.programs = newPrograms(s, o, d.compile)
	return d, nil
}

func (d *protoDecoder) compile(s *registry.Schema) (*protoFile, error) {
	if s.Type != registry.Protobuf {
		return nil, fmt.Errorf("the schema has type %s, but the format is protobuf-confluent", s.Type)
	}
	file, err := s.CompileProtobuf(context.Background())
	if err != nil {
		return nil, err
	}
	f := &protoFile{file: file, byIndex: make(map[string]*protoProgram)}
	if file.Messages().Len() == 1 { // otherwise the first record determines which one is used
		f.first, err = protoCompile(file.Messages().Get(0), d.own, columnFields(d.fields))
	}
	return f, err
}

// Decode implements Decoder.
func (d *protoDecoder) Decode(data []byte, cols []*column.Column) error {
	f, data, err := d.program(data)
	if err != nil {
		return err
	}
	p := f.first
	if p != nil && len(data) > 0 && data[0] == 0 {
		data = data[1:]
	} else if p, data, err = d.message(f, data); err != nil {
		return err
	}
	rows := length(cols)
	if err := p.run(data, cols); err != nil {
		truncate(cols, rows)
		return err
	}
	return nil
}

// message returns the program for the message type of a record.
func (d *protoDecoder) message(f *protoFile, data []byte) (*protoProgram, []byte, error) {
	path, rest, err := registry.ReadMessagePath(d.path[:0], data)
	if err != nil {
		return nil, nil, err
	}
	d.path = path
	index := string(data[:len(data)-len(rest)])
	if p := f.byIndex[index]; p != nil {
		return p, rest, nil
	}
	m := registry.MessageAt(f.file, path)
	if m == nil {
		return nil, nil, fmt.Errorf("schema %d has no message %v", d.last, path)
	}
	p, err := protoCompile(m, d.own, columnFields(d.fields))
	if err != nil {
		return nil, nil, d.incompatible(d.last, err)
	}
	f.byIndex[index] = p
	return p, rest, nil
}

// find locates the fields of a message.
func (p *protoProgram) find(data []byte) error {
	clear(p.slots)
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		at := int16(-1)
		if num < protoNear {
			at = p.byNum[num]
		} else if i, ok := p.beyond[num]; ok {
			at = i
		}
		if at < 0 {
			if n = protowire.ConsumeFieldValue(num, typ, data); n < 0 {
				return protowire.ParseError(n)
			}
			data = data[n:]
			continue
		}
		s, slot := &p.steps[at], &p.slots[at]
		bits, bytes, n := protoConsume(num, typ, data)
		if n < 0 {
			return fmt.Errorf("field %s: %w", s.name, protowire.ParseError(n))
		}
		data = data[n:]
		if !s.list && typ != s.wire {
			continue // treated like an unknown field
		}
		if slot.n++; slot.n > 1 && s.kind == protoreflect.MessageKind && !s.list { // merge the parts of a message
			if slot.n == 2 {
				slot.bytes = slices.Clone(slot.bytes)
			}
			slot.bytes = append(slot.bytes, bytes...)
			continue
		}
		slot.bits, slot.bytes = bits, bytes
	}
	return nil
}

// protoConsume reads one value: the bits of a number, or bytes.
func protoConsume(num protowire.Number, typ protowire.Type, data []byte) (bits uint64, bytes []byte, n int) {
	switch typ {
	case protowire.VarintType:
		bits, n = protowire.ConsumeVarint(data)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(data)
		bits = uint64(v)
	case protowire.Fixed64Type:
		bits, n = protowire.ConsumeFixed64(data)
	case protowire.BytesType:
		bytes, n = protowire.ConsumeBytes(data)
	default:
		n = protowire.ConsumeFieldValue(num, typ, data)
	}
	return bits, bytes, n
}

// run appends the values of a message to their columns.
func (p *protoProgram) run(data []byte, cols []*column.Column) error {
	if err := p.find(data); err != nil {
		return err
	}
	for i, c := range cols {
		if c == nil {
			continue
		}
		if err := p.steps[i].into(data, &p.slots[i], c); err != nil {
			return fmt.Errorf("field %s: %w", p.steps[i].name, err)
		}
	}
	return nil
}
