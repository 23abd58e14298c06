package registry

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Confluent's wire format: one magic byte 0, the schema's id in four bytes, big endian; in Protobuf
// then the path to the message in its file; then the payload.
// https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
const (
	magic      = 0
	HeaderSize = 5  // bytes of magic and id
	maxPath    = 64 // levels of nested messages that a path may have
)

// AppendHeader appends magic byte and id.
func AppendHeader(b []byte, id int) []byte {
	return binary.BigEndian.AppendUint32(append(b, magic), uint32(id)) //nolint:gosec // ids are 31 bits
}

// ReadHeader splits a record into the id of its schema and the rest.
func ReadHeader(b []byte) (id int, rest []byte, err error) {
	switch {
	case len(b) < HeaderSize:
		return 0, nil, fmt.Errorf("no schema id: %d bytes, fewer than the %d of magic byte and id", len(b), HeaderSize)
	case b[0] != magic:
		return 0, nil, fmt.Errorf("no schema id: the first byte is 0x%02x, not the magic byte 0", b[0])
	}
	u := binary.BigEndian.Uint32(b[1:])
	if u > math.MaxInt32 {
		return 0, nil, fmt.Errorf("no schema id: %d is larger than any id", u)
	}
	return int(u), b[HeaderSize:], nil
}

// AppendMessagePath appends the path to the payload's message in its Protobuf file: the index in
// the file, then the indexes in nested messages. It is encoded as zigzag varints, preceded by their
// count; the first message of a file is a single 0.
func AppendMessagePath(b []byte, path []int) []byte {
	if len(path) == 1 && path[0] == 0 {
		return append(b, 0)
	}
	b = binary.AppendVarint(b, int64(len(path)))
	for _, i := range path {
		b = binary.AppendVarint(b, int64(i))
	}
	return b
}

// ReadMessagePath splits the rest of a Protobuf record, after the header, into the message's path,
// appended to dst, and the payload.
func ReadMessagePath(dst []int, b []byte) (path []int, rest []byte, err error) {
	count, n := binary.Varint(b)
	if n <= 0 {
		return nil, nil, fmt.Errorf("no message index: truncated or not a varint")
	}
	b = b[n:]
	if count == 0 {
		return append(dst, 0), b, nil
	}
	if count < 0 || count > maxPath {
		return nil, nil, fmt.Errorf("no message index: %d levels, expected 1 to %d", count, maxPath)
	}
	for range count {
		i, n := binary.Varint(b)
		if n <= 0 || i < 0 || i > math.MaxInt32 {
			return nil, nil, fmt.Errorf("no message index: truncated or not an index")
		}
		dst, b = append(dst, int(i)), b[n:]
	}
	return dst, b, nil
}
