package reading

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends r as a JSON object without white space and returns the extended slice. Fields
// are in the order of Reading; ts is RFC 3339 in UTC with milliseconds. r must be valid.
func (r *Reading) AppendJSON(b []byte) []byte {
	b = append(b, `{"device_id":`...)
	b = AppendString(b, r.DeviceID)
	b = append(b, `,"sensor":`...)
	b = AppendString(b, r.Sensor)
	b = append(b, `,"value":`...)
	b = AppendFloat(b, r.Value)
	b = append(b, `,"unit":`...)
	b = AppendString(b, r.Unit)
	b = append(b, `,"ts":"`...)
	b = AppendTime(b, r.TS)
	b = append(b, `","seq":`...)
	b = strconv.AppendInt(b, r.Seq, 10)
	b = append(b, `,"boot":`...)
	b = AppendString(b, r.Boot)
	return append(b, '}')
}

// AppendString appends s as a JSON string.
func AppendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil { // strings always marshal
				panic(err)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// AppendFloat appends the shortest JSON number that reads back as v, as encoding/json does. v must
// be finite.
func AppendFloat(b []byte, v float64) []byte {
	// Fast path: most sensors send values with at most three decimals.
	if v > -1e9 && v < 1e9 && (v != 0 || !math.Signbit(v)) {
		if m := math.Round(v * 1000); m/1000 == v {
			return appendThousandths(b, int64(m))
		}
	}
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, v, format, -1, 64)
}

// appendThousandths appends m/1000 without trailing zeros.
func appendThousandths(b []byte, m int64) []byte {
	if m < 0 {
		b = append(b, '-')
		m = -m
	}
	b = strconv.AppendInt(b, m/1000, 10)
	rest := m % 1000
	if rest == 0 {
		return b
	}
	b = append(b, '.', byte('0'+rest/100))
	if rest%100 != 0 {
		b = append(b, byte('0'+rest/10%10))
		if rest%10 != 0 {
			b = append(b, byte('0'+rest%10))
		}
	}
	return b
}

const dayMillis = 24 * 60 * 60 * 1000

// AppendTime appends ts (milliseconds since the Unix epoch) as 2006-01-02T15:04:05.000Z.
func AppendTime(b []byte, ts int64) []byte {
	days, rest := ts/dayMillis, ts%dayMillis
	if rest < 0 {
		days, rest = days-1, rest+dayMillis
	}
	year, month, day := civil(days)
	b = appendDigits(b, year, 4)
	b = append(b, '-')
	b = appendDigits(b, month, 2)
	b = append(b, '-')
	b = appendDigits(b, day, 2)
	b = append(b, 'T')
	b = appendDigits(b, int(rest/3600000), 2)
	b = append(b, ':')
	b = appendDigits(b, int(rest/60000%60), 2)
	b = append(b, ':')
	b = appendDigits(b, int(rest/1000%60), 2)
	b = append(b, '.')
	b = appendDigits(b, int(rest%1000), 3)
	return append(b, 'Z')
}

func appendDigits(b []byte, n, width int) []byte {
	var digits [4]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, digits[:width]...)
}

// civil returns the date of a day counted from 1970-01-01 in the proleptic Gregorian calendar
// (Hinnant's civil_from_days: eras of 400 years, years starting in March).
func civil(days int64) (year, month, day int) {
	z := days + 719468
	era := z / 146097
	if z < 0 {
		era = (z - 146096) / 146097
	}
	dayOfEra := z - era*146097
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	monthFromMarch := (5*dayOfYear + 2) / 153
	day = int(dayOfYear - (153*monthFromMarch+2)/5 + 1)
	month = int(monthFromMarch) + 3
	year = int(yearOfEra + era*400)
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

// DecodeError is the error of input that is not the JSON of a reading.
type DecodeError struct {
	Offset int // in the input, in bytes
	Reason string
}

// Error returns "not a reading in JSON: REASON at byte OFFSET".
func (e *DecodeError) Error() string {
	return fmt.Sprintf("not a reading in JSON: %s at byte %d", e.Reason, e.Offset)
}

// Decoder decodes readings from JSON. It interns names, so that decoding a reading with known names
// does not allocate. The zero value is ready for use. It is not safe for concurrent use.
type Decoder struct {
	names map[string]string
}

// maxNames bounds the interned names; beyond it, all are discarded.
const maxNames = 100_000

// Decode parses a JSON object into r and validates it. Fields may be in any order, unknown fields
// are ignored, and unit and boot are optional. The error is a *DecodeError for input that is not
// such an object, and an *InvalidError for an invalid reading; r is undefined then.
func (d *Decoder) Decode(data []byte, r *Reading) error {
	*r = Reading{}
	s := scanner{data: data}
	seen, err := d.object(&s, r)
	if err != nil {
		return &DecodeError{Offset: s.pos, Reason: err.Error()}
	}
	for i, name := range [...]string{"device_id", "sensor", "value", "ts", "seq"} {
		if seen&(1<<i) == 0 {
			return invalid(name, "is missing")
		}
	}
	return r.Validate()
}

// Bits of the required fields, in the order of the list in Decode.
const (
	sawDevice = 1 << iota
	sawSensor
	sawValue
	sawTS
	sawSeq
)

func (d *Decoder) object(s *scanner, r *Reading) (seen uint, err error) {
	if err := s.expect('{'); err != nil {
		return 0, err
	}
	if s.accept('}') {
		return 0, s.end()
	}
	for {
		key, err := s.text()
		if err != nil {
			return seen, err
		}
		if err := s.expect(':'); err != nil {
			return seen, err
		}
		bit, err := d.field(s, r, key)
		if err != nil {
			return seen, err
		}
		seen |= bit
		if s.accept(',') {
			continue
		}
		if err := s.expect('}'); err != nil {
			return seen, err
		}
		return seen, s.end()
	}
}

func (d *Decoder) field(s *scanner, r *Reading, key []byte) (bit uint, err error) {
	switch string(key) {
	case "device_id":
		r.DeviceID, err = d.name(s, "device_id")
		return sawDevice, err
	case "sensor":
		r.Sensor, err = d.name(s, "sensor")
		return sawSensor, err
	case "unit":
		r.Unit, err = d.name(s, "unit")
		return 0, err
	case "boot":
		r.Boot, err = d.name(s, "boot")
		return 0, err
	case "value":
		r.Value, err = s.float()
		return sawValue, err
	case "seq":
		r.Seq, err = s.integer()
		return sawSeq, err
	case "ts":
		text, err := s.text()
		if err != nil {
			return 0, fmt.Errorf("ts must be a string: %w", err)
		}
		r.TS, err = ParseTime(text)
		return sawTS, err
	default:
		return 0, s.skip()
	}
}

// name reads a string and returns its interned copy.
func (d *Decoder) name(s *scanner, field string) (string, error) {
	text, err := s.text()
	if err != nil {
		return "", fmt.Errorf("%s must be a string: %w", field, err)
	}
	if known, ok := d.names[string(text)]; ok {
		return known, nil
	}
	if d.names == nil || len(d.names) >= maxNames {
		d.names = make(map[string]string)
	}
	name := string(text)
	if len(name) <= MaxName {
		d.names[name] = name
	}
	return name, nil
}

var errTime = errors.New("ts must be RFC 3339, such as 2026-01-31T23:59:59.000Z")

// ParseTime parses RFC 3339 with any offset and returns milliseconds since the Unix epoch, rounded
// down.
func ParseTime(text []byte) (int64, error) {
	if ms, ok := parseMillisZ(text); ok {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return 0, errTime
	}
	return t.UnixMilli(), nil
}

// parseMillisZ parses exactly the form that AppendTime writes; ok is false for any other.
func parseMillisZ(b []byte) (ms int64, ok bool) {
	if len(b) != len("2006-01-02T15:04:05.000Z") || b[4] != '-' || b[7] != '-' || b[10] != 'T' ||
		b[13] != ':' || b[16] != ':' || b[19] != '.' || b[23] != 'Z' {
		return 0, false
	}
	year, ok1 := digits(b[0:4])
	month, ok2 := digits(b[5:7])
	day, ok3 := digits(b[8:10])
	hour, ok4 := digits(b[11:13])
	minute, ok5 := digits(b[14:16])
	second, ok6 := digits(b[17:19])
	milli, ok7 := digits(b[20:23])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 {
		return 0, false
	}
	if month < 1 || month > 12 || day < 1 || day > 28 || hour > 23 || minute > 59 || second > 59 {
		return 0, false // leave the ends of months to time.Parse
	}
	return daysFromCivil(year, month, day)*dayMillis +
		int64(hour)*3600000 + int64(minute)*60000 + int64(second)*1000 + int64(milli), true
}

func digits(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// daysFromCivil is the inverse of civil, for years 0 and later.
func daysFromCivil(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	if year < 0 {
		era = -1
	}
	yearOfEra := year - era*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return int64(era)*146097 + int64(dayOfEra) - 719468
}
