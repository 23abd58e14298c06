package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Errors of what arrives on a connection.
var (
	errFrame        = errors.New("the length of a packet is malformed")
	errPacketSize   = errors.New("a packet is too large")
	errNotConnect   = errors.New("the first packet is not CONNECT")
	errConnectLarge = fmt.Errorf("CONNECT has more than %d KiB", maxConnect>>10)
)

// frames follows the packets in a stream of bytes. It does not keep them.
type frames struct {
	max int64 // bytes of a packet after its length

	state  frameState
	shift  uint
	length int64
	left   int64 // of the packet's bytes after its length
}

type frameState int

const (
	inType frameState = iota
	inLength
	inBody
)

// scan goes over the next bytes. It returns the length of the last packet that began in them, which
// has not ended; 0 if the bytes end between packets.
func (f *frames) scan(data []byte) (open int64, err error) {
	for len(data) > 0 {
		switch f.state {
		case inType:
			f.state, f.length, f.shift = inLength, 0, 0
			data = data[1:]
		case inLength:
			f.length |= int64(data[0]&0x7f) << f.shift
			more := data[0]&0x80 != 0
			data = data[1:]
			f.shift += 7
			switch {
			case more && f.shift > 21:
				return 0, errFrame
			case more:
				continue
			case f.length > f.max:
				return 0, errPacketSize
			}
			f.state, f.left = inBody, f.length
			if f.left == 0 {
				f.state = inType
			}
		case inBody:
			n := min(f.left, int64(len(data)))
			data = data[n:]
			if f.left -= n; f.left == 0 {
				f.state = inType
			}
		}
	}
	if f.state == inBody {
		return f.length, nil
	}
	return 0, nil
}

// readConnect reads the first packet, which must be CONNECT, and possibly bytes after it.
func readConnect(r io.Reader) ([]byte, error) {
	data := make([]byte, 0, 256)
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch total, bad := connectSize(data); {
		case bad != nil:
			return nil, bad
		case total > 0 && len(data) >= total:
			return data, nil
		case err != nil:
			return nil, err
		}
	}
}

// connectSize returns the size of a CONNECT packet from its beginning; 0 if that is too short.
func connectSize(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	if data[0] != packets.Connect<<4 {
		return 0, errNotConnect
	}
	length, n := binary.Uvarint(data[1:min(len(data), 5)]) // in MQTT at most 4 bytes
	switch {
	case n == 0 && len(data) >= 5:
		return 0, errFrame
	case n == 0:
		return 0, nil
	case length > maxConnect:
		return 0, errConnectLarge
	}
	return 1 + n + int(length), nil //nolint:gosec // checked above
}
