package format

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Avro's binary encoding (https://avro.apache.org/docs/1.12.0/specification/#binary-encoding).
// Lengths and counts are untrusted: each one is checked against the remaining bytes before use.

var (
	errAvroEnd     = errors.New("the record ends in the middle of a value")
	errAvroLong    = errors.New("a number has more than 64 bits")
	errAvroDepth   = fmt.Errorf("nested deeper than %d", maxDepth)
	errAvroBoolean = errors.New("a boolean is neither 0 nor 1")
)

// avroInput is the data of a record and the read position.
type avroInput struct {
	data []byte
	at   int
}

// long reads an int or long: a zigzag varint.
func (in *avroInput) long() (int64, error) {
	if in.at < len(in.data) {
		if b := in.data[in.at]; b < 0x80 {
			in.at++
			return int64(b>>1) ^ -int64(b&1), nil
		}
	}
	return in.longer()
}

func (in *avroInput) longer() (int64, error) {
	v, n := binary.Varint(in.data[in.at:])
	switch {
	case n == 0:
		return 0, errAvroEnd
	case n < 0:
		return 0, errAvroLong
	}
	in.at += n
	return v, nil
}

// bytes reads n bytes. The result aliases the record.
func (in *avroInput) bytes(n int64) ([]byte, error) {
	if n < 0 {
		return nil, fmt.Errorf("a length is %d", n)
	}
	if n > int64(len(in.data)-in.at) {
		return nil, errAvroEnd
	}
	from := in.at
	in.at += int(n)
	return in.data[from:in.at:in.at], nil
}

// counted reads a length-prefixed string or byte sequence.
func (in *avroInput) counted() ([]byte, error) {
	n, err := in.long()
	if err != nil {
		return nil, err
	}
	return in.bytes(n)
}

func (in *avroInput) boolean() (int64, error) {
	if in.at == len(in.data) {
		return 0, errAvroEnd
	}
	b := in.data[in.at]
	if b > 1 {
		return 0, errAvroBoolean
	}
	in.at++
	return int64(b), nil
}

func (in *avroInput) fixed32() (uint32, error) {
	if len(in.data)-in.at < 4 {
		return 0, errAvroEnd
	}
	u := binary.LittleEndian.Uint32(in.data[in.at:])
	in.at += 4
	return u, nil
}

func (in *avroInput) fixed64() (uint64, error) {
	if len(in.data)-in.at < 8 {
		return 0, errAvroEnd
	}
	u := binary.LittleEndian.Uint64(in.data[in.at:])
	in.at += 8
	return u, nil
}

// block reads the header of a block of an array or map: the number of items, which is 0 at the end,
// and their size in bytes, or -1 if it isn't given. The count must not exceed the remaining bytes,
// even for items of zero bytes, so that a few bytes can't represent millions of items.
func (in *avroInput) block() (count, size int64, err error) {
	count, err = in.long()
	if err != nil {
		return 0, 0, err
	}
	size = -1
	if count < 0 {
		if size, err = in.long(); err != nil {
			return 0, 0, err
		}
		if count = -count; size < 0 {
			return 0, 0, fmt.Errorf("the size of a block is %d", size)
		}
		if size > int64(len(in.data)-in.at) {
			return 0, 0, errAvroEnd
		}
	}
	if count < 0 || count > int64(len(in.data)-in.at) {
		return 0, 0, fmt.Errorf("a block of %d items does not fit in the %d bytes that are left", count, len(in.data)-in.at)
	}
	return count, size, nil
}

// skip skips a value.
func (in *avroInput) skip(t *avroType, depth int) error {
	switch t.kind {
	case avroNull:
		return nil
	case avroBoolean:
		_, err := in.boolean()
		return err
	case avroInt, avroLong, avroEnum:
		_, err := in.long()
		return err
	case avroFloat:
		_, err := in.fixed32()
		return err
	case avroDouble:
		_, err := in.fixed64()
		return err
	case avroString, avroBytes:
		_, err := in.counted()
		return err
	case avroFixed:
		_, err := in.bytes(int64(t.size))
		return err
	}
	if depth > maxDepth {
		return errAvroDepth
	}
	switch t.kind {
	case avroRecord:
		for i := range t.fields {
			if err := in.skip(t.fields[i].typ, depth+1); err != nil {
				return err
			}
		}
		return nil
	case avroUnion:
		branch, err := in.branch(t)
		if err != nil {
			return err
		}
		return in.skip(branch, depth+1)
	}
	return in.skipBlocks(t, depth)
}

func (in *avroInput) skipBlocks(t *avroType, depth int) error {
	for {
		count, size, err := in.block()
		if err != nil || count == 0 {
			return err
		}
		if size >= 0 {
			in.at += int(size)
			continue
		}
		for range count {
			if t.kind == avroMap {
				if _, err := in.counted(); err != nil {
					return err
				}
			}
			if err := in.skip(t.elem, depth+1); err != nil {
				return err
			}
		}
	}
}

// branch reads the branch index of a union.
func (in *avroInput) branch(t *avroType) (*avroType, error) {
	n, err := in.long()
	if err != nil {
		return nil, err
	}
	if n < 0 || n >= int64(len(t.branches)) {
		return nil, fmt.Errorf("branch %d of %s", n, t)
	}
	return t.branches[n], nil
}
