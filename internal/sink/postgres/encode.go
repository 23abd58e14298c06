package postgres

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
)

const (
	// epochDays and epochMicros are 2000-01-01, from which PostgreSQL counts.
	epochDays   = 10_957
	epochMicros = epochDays * 86_400_000_000
	noValue     = ^uint32(0) // the length of NULL
)

// encoder encodes the values of one column in PostgreSQL's binary format.
type encoder struct {
	stored
	typ   column.Type
	types *pgtype.Map
	json  format.Encoder // of {"v": value}
}

// jsonBegin precedes a value in what encoder.json writes.
const jsonBegin = `{"v":`

func newEncoder(s stored, t column.Type, types *pgtype.Map) (*encoder, error) {
	e := &encoder{stored: s, typ: t, types: types}
	if s.isJSON {
		var err error
		if e.json, err = format.NewEncoder("json", []format.Field{{Name: "v", Type: t}}, format.Options{}, nil); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// append appends the length and the value of a row, as COPY and arrays have it.
func (e *encoder) append(dst []byte, c *column.Column, row int) ([]byte, error) {
	if c.Null[row] {
		return binary.BigEndian.AppendUint32(dst, noValue), nil
	}
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	var err error
	switch {
	case e.isJSON:
		dst, err = e.appendJSON(dst, c, row)
	case e.isArray:
		values, _ := c.Value(row).([]any)
		dst, err = e.appendArray(dst, values)
	case e.typ.Class() == column.Ints:
		dst, err = e.appendInt(dst, c.I[row])
	case e.typ.Class() == column.Floats:
		dst = e.appendFloat(dst, c.F[row])
	case e.typ.Class() == column.Texts:
		dst = append(dst, c.S[row]...)
	default:
		dst, err = e.appendNumeric(dst, c.Value(row), e.typ.Scale)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4)) //nolint:gosec // records are smaller
	return dst, err
}

func (e *encoder) appendJSON(dst []byte, c *column.Column, row int) ([]byte, error) {
	dst = append(dst, 1) // version of jsonb
	at := len(dst)
	dst, err := e.json.Encode(dst, []*column.Column{c}, row)
	if err != nil {
		return dst, err
	}
	value := dst[at+len(jsonBegin) : len(dst)-1]
	return append(dst[:at], value...), nil
}

func (e *encoder) appendInt(dst []byte, v int64) ([]byte, error) {
	switch e.pgType {
	case pgBool:
		return append(dst, byte(v)), nil
	case pgInt2:
		return binary.BigEndian.AppendUint16(dst, uint16(v)), nil //nolint:gosec // fits by its type
	case pgInt4:
		return binary.BigEndian.AppendUint32(dst, uint32(v)), nil //nolint:gosec // fits by its type
	case pgDate:
		return binary.BigEndian.AppendUint32(dst, uint32(v-epochDays)), nil //nolint:gosec // bounded by column.MaxYear
	case pgTime:
		return binary.BigEndian.AppendUint64(dst, uint64(v*1000)), nil //nolint:gosec // two's complement
	case pgTimestamp, pgTimestampTZ:
		return binary.BigEndian.AppendUint64(dst, uint64(v-epochMicros)), nil //nolint:gosec // two's complement
	case pgNumeric:
		return e.appendNumeric(dst, big.NewInt(v), 0)
	}
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil //nolint:gosec // two's complement
}

func (e *encoder) appendFloat(dst []byte, v float64) []byte {
	if e.pgType == pgFloat4 {
		return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(v)))
	}
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
}

func (e *encoder) appendNumeric(dst []byte, v any, scale int) ([]byte, error) {
	unscaled, ok := v.(*big.Int)
	if !ok {
		return dst, fmt.Errorf("a decimal is a %T", v)
	}
	return e.types.Encode(pgtype.NumericOID, pgx.BinaryFormatCode, pgtype.Numeric{Int: unscaled, Exp: int32(-scale), Valid: true}, dst) //nolint:gosec // at most 38
}

// appendArray appends an array of one dimension.
func (e *encoder) appendArray(dst []byte, values []any) ([]byte, error) {
	dst = appendArrayHeader(dst, e.oid, len(values))
	for _, v := range values {
		if v == nil {
			dst = binary.BigEndian.AppendUint32(dst, noValue)
			continue
		}
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		var err error
		switch v := v.(type) {
		case int64, bool:
			dst, err = e.appendInt(dst, column.UnboxInt(v))
		case float64:
			dst = e.appendFloat(dst, v)
		case string:
			dst = append(dst, v...)
		default:
			dst, err = e.appendNumeric(dst, v, e.typ.Elem.Scale)
		}
		if err != nil {
			return dst, err
		}
		binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4)) //nolint:gosec // records are smaller
	}
	return dst, nil
}

func appendArrayHeader(dst []byte, elem uint32, n int) []byte {
	dimensions := uint32(1)
	if n == 0 {
		dimensions = 0
	}
	dst = binary.BigEndian.AppendUint32(dst, dimensions)
	dst = binary.BigEndian.AppendUint32(dst, 1) // may have NULLs
	dst = binary.BigEndian.AppendUint32(dst, elem)
	if n > 0 {
		dst = binary.BigEndian.AppendUint32(dst, uint32(n)) //nolint:gosec // small
		dst = binary.BigEndian.AppendUint32(dst, 1)         // lower bound
	}
	return dst
}
