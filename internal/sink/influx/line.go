package influx

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/sink"
)

// line appends a row as a line. See the reference of InfluxDB:
// https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
func (s *Sender) line(dst []byte, cols []*column.Column, row int) ([]byte, error) {
	l := s.lines
	measurement := l.Measurement
	if l.NamedBy >= 0 {
		if measurement = cols[l.NamedBy].S[row]; cols[l.NamedBy].Null[row] || measurement == "" {
			return nil, fmt.Errorf("column %s has no measurement", s.name(l.NamedBy))
		}
		if err := checkName(measurement); err != nil || measurement[0] == '#' {
			return nil, fmt.Errorf("column %s: the measurement %q can't be written: it begins with #, ends with \\ or has line breaks", s.name(l.NamedBy), measurement)
		}
	}
	dst = append(dst, escapeMeasurement.Replace(measurement)...)
	for _, i := range l.Tags {
		c := cols[i]
		if c.Null[row] {
			continue // a point does not have the tag
		}
		value := sink.Text(c, row)
		if value == "" {
			return nil, fmt.Errorf("column %s: the empty string can't be the value of a tag, where it equals NULL", s.name(i))
		}
		if err := checkName(value); err != nil {
			return nil, fmt.Errorf("column %s: the value %q can't be that of a tag: %w", s.name(i), value, err)
		}
		dst = append(append(dst, ','), escapeTag.Replace(s.name(i))...)
		dst = append(append(dst, '='), escapeTag.Replace(value)...)
	}
	dst, err := s.fields(append(dst, ' '), cols, row)
	if err != nil {
		return nil, err
	}
	if dst, err = s.time(append(dst, ' '), cols[l.Time], row); err != nil {
		return nil, err
	}
	return append(dst, '\n'), nil
}

var (
	escapeMeasurement = strings.NewReplacer(",", `\,`, " ", `\ `)
	escapeTag         = strings.NewReplacer(",", `\,`, " ", `\ `, "=", `\=`)
	escapeText        = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

	errBreaks    = errors.New("it has line breaks")
	errBackslash = errors.New(`it ends with \, which would escape what follows`)
	errNoField   = errors.New("all fields are NULL, and a point needs at least one")
)

// checkName refuses what the protocol can't express outside of quotes.
func checkName(s string) error {
	switch {
	case strings.ContainsAny(s, "\r\n"):
		return errBreaks
	case strings.HasSuffix(s, `\`):
		return errBackslash
	}
	return nil
}

func (s *Sender) fields(dst []byte, cols []*column.Column, row int) ([]byte, error) {
	begin := len(dst)
	for _, i := range s.lines.Fields {
		c := cols[i]
		if c.Null[row] {
			if s.table.Upsert {
				return nil, fmt.Errorf("column %s is NULL, and the line protocol can't remove the value that an earlier version of the point may have", s.name(i))
			}
			continue
		}
		if len(dst) > begin {
			dst = append(dst, ',')
		}
		dst = append(append(dst, escapeTag.Replace(s.name(i))...), '=')
		switch {
		case c.Type.Kind == column.Boolean:
			dst = strconv.AppendBool(dst, c.I[row] != 0)
		case c.Type.Class() == column.Ints:
			dst = append(strconv.AppendInt(dst, c.I[row], 10), 'i')
		case c.Type.Class() == column.Floats:
			v := c.F[row]
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("column %s is %v, which the line protocol does not have", s.name(i), v)
			}
			bits := 64
			if c.Type.Kind == column.Float {
				bits = 32
			}
			dst = strconv.AppendFloat(dst, v, 'g', -1, bits)
		default:
			if strings.ContainsAny(c.S[row], "\r\n") {
				return nil, fmt.Errorf("column %s has line breaks, which not all servers of the line protocol read", s.name(i))
			}
			dst = append(append(append(dst, '"'), escapeText.Replace(c.S[row])...), '"')
		}
	}
	if len(dst) == begin {
		return nil, errNoField
	}
	return dst, nil
}

// Bounds of InfluxDB's times, in microseconds; it keeps them as nanoseconds in 64 bits.
const (
	minTime = math.MinInt64/1000 + 1
	maxTime = math.MaxInt64/1000 - 1
)

func (s *Sender) time(dst []byte, c *column.Column, row int) ([]byte, error) {
	if c.Null[row] {
		return nil, fmt.Errorf("column %s is NULL, and a point needs a time", s.name(s.lines.Time))
	}
	at := c.I[row]
	if at < minTime || at > maxTime {
		return nil, fmt.Errorf("column %s is not between the years 1678 and 2262, as the times of points are", s.name(s.lines.Time))
	}
	multiply, divide := s.lines.Scale()
	return strconv.AppendInt(dst, at*multiply/divide, 10), nil
}
