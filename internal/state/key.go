package state

import (
	"encoding/binary"
	"fmt"
)

// prefixLen is the length of what precedes the key: two bytes of op and eight of window.
const prefixLen = 10

// appendPrefix appends op and window so that byte order is op order, then window order: big endian,
// and the window's sign bit flipped since negative windows come first.
func appendPrefix(b []byte, op uint16, window int64) []byte {
	b = binary.BigEndian.AppendUint16(b, op)
	return binary.BigEndian.AppendUint64(b, uint64(window)^1<<63)
}

// appendKey appends the encoding of an entry's name, which is its changelog record's key and its
// key in the database. It is part of the format of changelog topics: changing it orphans them.
func appendKey[K string | []byte](b []byte, op uint16, window int64, key K) []byte {
	return append(appendPrefix(b, op, window), key...)
}

// decodeKey is the inverse of appendKey. The key shares b's memory.
func decodeKey(b []byte) (op uint16, window int64, key []byte, err error) {
	if len(b) < prefixLen {
		return 0, 0, nil, fmt.Errorf("changelog key %x has %d bytes, want at least %d", b, len(b), prefixLen)
	}
	op = binary.BigEndian.Uint16(b)
	window = int64(binary.BigEndian.Uint64(b[2:]) ^ 1<<63)
	return op, window, b[prefixLen:], nil
}

// EntryOf returns the number of the operator whose entry a changelog record is; false where the key
// is none.
func EntryOf(key []byte) (op uint16, ok bool) {
	op, _, _, err := decodeKey(key)
	return op, err == nil
}

// prefixEnd returns the first byte string after all that start with prefix, nil where there is
// none.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
