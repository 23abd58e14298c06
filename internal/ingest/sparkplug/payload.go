package sparkplug

import (
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// payload is a Sparkplug B payload, as far as it matters here.
type payload struct {
	timestamp int64 // milliseconds since 1970; 0 if it is missing
	seq       int64 // -1 if it is missing
	metrics   []metric
}

type metric struct {
	name      string
	alias     uint64
	aliased   bool
	timestamp int64
	datatype  uint32
	null      bool
	value     float64
	kind      kind
	integer   uint64 // of an integer, as it was sent
}

// kind is the form of a value.
type kind int

const (
	none kind = iota
	integer
	floating
	boolean
	text // and everything else that is no number
)

// Data types of metrics.
const (
	typeInt8     = 1
	typeInt16    = 2
	typeInt32    = 3
	typeInt64    = 4
	typeUInt64   = 8
	typeBoolean  = 11
	typeDateTime = 13
)

// maxMetrics bounds the metrics of a message.
const maxMetrics = 10_000

var errPayload = errors.New("the message is not a Sparkplug B payload")

// fields calls fn for each field of a message. v is the number of a varint or fixed field, b the
// bytes of a field with a length.
func fields(data []byte, fn func(number protowire.Number, v uint64, b []byte) error) error {
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errPayload
		}
		data = data[n:]
		var v uint64
		var b []byte
		switch wire {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(data)
		case protowire.Fixed32Type:
			var short uint32
			short, n = protowire.ConsumeFixed32(data)
			v = uint64(short)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(number, wire, data)
		}
		if n < 0 {
			return errPayload
		}
		data = data[n:]
		if err := fn(number, v, b); err != nil {
			return err
		}
	}
	return nil
}

func decode(data []byte) (*payload, error) {
	p := &payload{seq: -1}
	err := fields(data, func(number protowire.Number, v uint64, b []byte) error {
		switch number {
		case 1:
			p.timestamp = int64(v) //nolint:gosec // a time out of range is found later
		case 2:
			if len(p.metrics) >= maxMetrics {
				return errPayload
			}
			m, err := decodeMetric(b)
			if err != nil {
				return err
			}
			p.metrics = append(p.metrics, m)
		case 3:
			if v > 255 {
				return errPayload
			}
			p.seq = int64(v)
		}
		return nil
	})
	return p, err
}

func decodeMetric(data []byte) (m metric, err error) {
	err = fields(data, func(number protowire.Number, v uint64, b []byte) error {
		switch number {
		case 1:
			m.name = string(b)
		case 2:
			m.alias, m.aliased = v, true
		case 3:
			m.timestamp = int64(v) //nolint:gosec // a time out of range is found later
		case 4:
			m.datatype = uint32(v) //nolint:gosec // an unknown type is found later
		case 7:
			m.null = v != 0
		case 10, 11:
			m.kind, m.integer = integer, v
		case 12:
			m.kind, m.value = floating, float64(math.Float32frombits(uint32(v))) //nolint:gosec // of 4 bytes
		case 13:
			m.kind, m.value = floating, math.Float64frombits(v)
		case 14:
			m.kind = boolean
			if v != 0 {
				m.value = 1
			}
		case 15, 16, 17, 18, 19:
			m.kind = text
		}
		return nil
	})
	return m, err
}

// number returns the value of a metric of a data type; ok is false if it is no number.
func (m *metric) number(datatype uint32) (v float64, ok bool) {
	switch {
	case m.null || m.kind == none || m.kind == text || datatype == typeDateTime:
		return 0, false
	case m.kind != integer:
		return m.value, true
	}
	switch datatype { // signed integers are sent as two's complement
	case typeInt8:
		return float64(int8(m.integer)), true //nolint:gosec // two's complement
	case typeInt16:
		return float64(int16(m.integer)), true //nolint:gosec // two's complement
	case typeInt32:
		return float64(int32(m.integer)), true //nolint:gosec // two's complement
	case typeInt64:
		return float64(int64(m.integer)), true //nolint:gosec // two's complement
	}
	return float64(m.integer), true
}
