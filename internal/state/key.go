package state

import (
	"encoding/binary"
	"fmt"
)

// prefixLen is the length of the prefix of a key: two bytes of op and eight of window.
const prefixLen = 10

// appendPrefix appends op and window such that byte order is the order of op, then window: big
// endian, with the window's sign bit flipped so that negative windows sort first.
func appendPrefix(b []byte, op uint16, window int64) []byte {
	b = binary.BigEndian.AppendUint16(b, op)
	return binary.BigEndian.AppendUint64(b, uint64(window)^1<<63)
}

// appendKey appends the encoding of an entry's name, which is the key of both its changelog record
// and its database entry. The encoding is part of the format of changelog topics: changing it
// orphans them.
func appendKey[K string | []byte](b []byte, op uint16, window int64, key K) []byte {
	return append(appendPrefix(b, op, window), key...)
}

// decodeKey is the inverse of appendKey. key aliases b.
func decodeKey(b []byte) (op uint16, window int64, key []byte, err error) {
	if len(b) < prefixLen {
		return 0, 0, nil, fmt.Errorf("changelog key %x has %d bytes, want at least %d", b, len(b), prefixLen)
	}
	op = binary.BigEndian.Uint16(b)
	window = int64(binary.BigEndian.Uint64(b[2:]) ^ 1<<63)
	return op, window, b[prefixLen:], nil
}

// EntryOf returns the operator whose entry a changelog record is; false if the key is malformed.
func EntryOf(key []byte) (op uint16, ok bool) {
	op, _, _, err := decodeKey(key)
	return op, err == nil
}

// PrefixEnd returns the smallest byte string greater than all that start with prefix, or nil if
// there is none.
func PrefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
