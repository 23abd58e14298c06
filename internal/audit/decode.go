package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// sample holds the fields of a reading that the checker uses.
type sample struct {
	device, sensor, boot string
	value                float64
	ts                   int64 // milliseconds since the Unix epoch
	seq                  int64
	untimed              bool // ts is unknown
}

// String names the reading.
func (s *sample) String() string {
	return fmt.Sprintf("device %q boot %q seq %d", s.device, s.boot, s.seq)
}

// decoder reads samples from JSON according to the published contract of the topic: a single
// object; device_id and sensor are 1 to 256 bytes long, unit and boot are optional and at most 256
// bytes, all of them UTF-8 without control characters; value is a finite number; ts is RFC 3339
// within the years 1 to 9999; seq is a non-negative 64-bit integer. Other fields are ignored, up to
// 1000 levels of nesting. The last of repeated fields counts.
type decoder struct {
	in    []byte
	at    int
	names map[string]string // interned names
	good  int               // valid fields of the last sample, regardless of the others
	read  int               // likewise, plus those that SQL's JSON rules accept (loose.go)
}

const (
	maxText  = 256
	maxDepth = 1000
	maxNames = 200_000
)

// Bits for the valid fields of a sample.
const (
	hasDevice = 1 << iota
	hasSensor
	hasValue
	hasTS
	hasSeq
	needed = hasDevice | hasSensor | hasValue | hasTS | hasSeq
)

var (
	errSyntax  = errors.New("not a JSON object")
	errMissing = errors.New("a field is missing")
)

// decode decodes a record's value. If it fails, named reports whether device, boot and seq are
// known nevertheless: the record then counts as that reading, although it is invalid.
func (d *decoder) decode(in []byte, s *sample) (named bool, err error) {
	*s = sample{}
	d.in, d.at, d.good, d.read = in, 0, 0, 0
	fields, bad, ok := d.object(s)
	if !ok {
		d.good, d.read = 0, 0
		return false, errSyntax
	}
	named = fields&hasDevice != 0 && fields&hasSeq != 0 && bad != "device_id" && bad != "boot" && bad != "seq"
	if bad != "" {
		return named, fmt.Errorf("field %s is invalid", bad)
	}
	if fields != needed {
		return named, errMissing
	}
	return true, nil
}

// object parses the input's single object. bad is the first invalid field; fields that identify the
// reading take precedence.
func (d *decoder) object(s *sample) (fields int, bad string, ok bool) {
	if !d.take('{') {
		return 0, "", false
	}
	for first := true; !d.take('}'); first = false {
		if !first && !d.take(',') {
			return 0, "", false
		}
		key, ok := d.text()
		if !ok || !d.take(':') {
			return 0, "", false
		}
		before := d.at
		bit, name, good := d.field(s, key)
		fields |= bit
		if good {
			d.good |= bit
			d.read |= bit
			continue
		}
		d.good &^= bit
		d.read &^= bit
		if bad == "" || name == "device_id" || name == "boot" || name == "seq" {
			bad = name
		}
		d.at = before
		if !d.skip(0) {
			return 0, "", false
		}
		if bit != 0 && s.loosely(name, d.in[before:d.at]) {
			d.read |= bit
		}
	}
	d.blank()
	return fields, bad, d.at == len(d.in)
}

// field parses one value. name is empty for unknown fields.
func (d *decoder) field(s *sample, key []byte) (bit int, name string, good bool) {
	switch string(key) {
	case "device_id":
		s.device, good = d.name(1)
		return hasDevice, "device_id", good
	case "sensor":
		s.sensor, good = d.name(1)
		return hasSensor, "sensor", good
	case "boot":
		s.boot, good = d.name(0)
		return 0, "boot", good
	case "unit":
		_, good = d.name(0)
		return 0, "unit", good
	case "value":
		s.value, good = d.float()
		return hasValue, "value", good
	case "ts":
		s.ts, good = d.time()
		return hasTS, "ts", good
	case "seq":
		s.seq, good = d.integer()
		return hasSeq, "seq", good && s.seq >= 0
	default:
		return 0, "", d.skip(0)
	}
}

func (d *decoder) blank() {
	for d.at < len(d.in) && (d.in[d.at] == ' ' || d.in[d.at] == '\n' || d.in[d.at] == '\t' || d.in[d.at] == '\r') {
		d.at++
	}
}

// peek returns the next byte that is not white space, or 0 at the end.
func (d *decoder) peek() byte {
	d.blank()
	if d.at == len(d.in) {
		return 0
	}
	return d.in[d.at]
}

func (d *decoder) take(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.at++
	return true
}

// text parses a string. Without escapes, the result is a slice of the input.
func (d *decoder) text() ([]byte, bool) {
	if d.peek() != '"' {
		return nil, false
	}
	open, escaped := d.at, false
	for i := open + 1; i < len(d.in); i++ {
		switch c := d.in[i]; {
		case c < ' ':
			return nil, false
		case c == '\\':
			escaped = true
			i++
		case c == '"':
			d.at = i + 1
			if !utf8.Valid(d.in[open:d.at]) {
				return nil, false
			}
			if !escaped {
				return d.in[open+1 : i], true
			}
			var plain string
			err := json.Unmarshal(d.in[open:d.at], &plain)
			return []byte(plain), err == nil
		}
	}
	return nil, false
}

func (d *decoder) name(shortest int) (string, bool) {
	b, ok := d.text()
	if !ok || len(b) < shortest || len(b) > maxText {
		return "", false
	}
	if known, ok := d.names[string(b)]; ok {
		return known, true
	}
	if !printable(b) {
		return "", false
	}
	if d.names == nil || len(d.names) == maxNames {
		d.names = make(map[string]string)
	}
	text := string(b)
	d.names[text] = text
	return text, true
}

func printable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// number parses a number (RFC 8259, section 6) and returns its bytes.
func (d *decoder) number() ([]byte, bool) {
	d.blank()
	i := d.at
	digits := func() bool {
		from := i
		for i < len(d.in) && d.in[i]-'0' <= 9 {
			i++
		}
		return i > from
	}
	at := func(c byte) bool {
		if i < len(d.in) && d.in[i]|0x20 == c|0x20 {
			i++
			return true
		}
		return false
	}
	if i < len(d.in) && d.in[i] == '-' {
		i++
	}
	integer := i
	if !digits() || d.in[integer] == '0' && i > integer+1 {
		return nil, false
	}
	if i < len(d.in) && d.in[i] == '.' {
		i++
		if !digits() {
			return nil, false
		}
	}
	if at('e') {
		if i < len(d.in) && (d.in[i] == '+' || d.in[i] == '-') {
			i++
		}
		if !digits() {
			return nil, false
		}
	}
	b := d.in[d.at:i]
	d.at = i
	return b, true
}

// exact lists the powers of ten needed for short decimals; a double represents all of them exactly.
var exact = [16]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

func (d *decoder) float() (float64, bool) {
	b, ok := d.number()
	if !ok {
		return 0, false
	}
	// Up to 15 digits and their power of ten are exact, so the quotient is rounded only once.
	if len(b) <= 16 {
		digits, point := int64(0), -1
		short := true
		for i, c := range b {
			switch {
			case c-'0' <= 9:
				digits = digits*10 + int64(c-'0')
			case c == '.':
				point = len(b) - 1 - i
			case c != '-':
				short = false
			}
		}
		if short && digits < 1e15 {
			v := float64(digits)
			if point > 0 {
				v /= exact[point]
			}
			if b[0] == '-' {
				v = -v
			}
			return v, true
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil && !math.IsInf(v, 0)
}

func (d *decoder) integer() (int64, bool) {
	b, ok := d.number()
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}

func (d *decoder) time() (int64, bool) {
	b, ok := d.text()
	if !ok {
		return 0, false
	}
	return parseTime(b)
}

// The years 1 to 9999 in milliseconds since the Unix epoch.
var firstTime, lastTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1

// parseTime parses RFC 3339. Times with milliseconds in UTC, which almost all records have, bypass
// the general parser.
func parseTime(b []byte) (int64, bool) {
	const form = "dddd-dd-ddTdd:dd:dd.dddZ"
	if len(b) == len(form) {
		var n [7]int
		field, plain := 0, true
		for i := range len(form) {
			switch c := b[i]; {
			case form[i] == 'd' && c-'0' <= 9:
				n[field] = n[field]*10 + int(c-'0')
			case form[i] != 'd' && c == form[i]:
				field = min(field+1, 6)
			default:
				plain = false
			}
		}
		// Days after the 28th are left to the general parser.
		if plain && n[0] >= 1 && n[1] >= 1 && n[1] <= 12 && n[2] >= 1 && n[2] <= 28 && n[3] < 24 && n[4] < 60 && n[5] < 60 {
			return time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1e6, time.UTC).UnixMilli(), true
		}
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	ms := t.UnixMilli()
	return ms, err == nil && !bytes.ContainsRune(b, ',') && // Go accepts a comma as the decimal point
		ms >= firstTime && ms <= lastTime
}

// skip skips one value of any kind.
func (d *decoder) skip(depth int) bool {
	switch c := d.peek(); c {
	case '"':
		_, ok := d.text()
		return ok
	case '{', '[':
		d.at++
		return depth < maxDepth && d.skipMembers(c, depth)
	case 't':
		return d.word("true")
	case 'f':
		return d.word("false")
	case 'n':
		return d.word("null")
	default:
		_, ok := d.number()
		return ok
	}
}

func (d *decoder) skipMembers(open byte, depth int) bool {
	closing := open + 2 // both closing brackets are two above their opening ones in ASCII
	for first := true; !d.take(closing); first = false {
		if !first && !d.take(',') {
			return false
		}
		if open == '{' {
			if _, ok := d.text(); !ok || !d.take(':') {
				return false
			}
		}
		if !d.skip(depth + 1) {
			return false
		}
	}
	return true
}

func (d *decoder) word(w string) bool {
	if len(d.in)-d.at < len(w) || string(d.in[d.at:d.at+len(w)]) != w {
		return false
	}
	d.at += len(w)
	return true
}
