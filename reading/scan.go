package reading

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unsafe"
)

// scanner reads JSON tokens in place. Text that it returns points into data unless the JSON string
// has escapes. After an error, pos is at the offending token.
type scanner struct {
	data []byte
	pos  int
}

// maxDepth bounds the nesting of skipped values.
const maxDepth = 64

var (
	errEnd     = errors.New("unexpected end of the object")
	errTrail   = errors.New("unexpected data after the object")
	errString  = errors.New("expected a string")
	errControl = errors.New("control character in a string")
	errNumber  = errors.New("expected a number")
	errValue   = errors.New("expected a value")
	errDepth   = errors.New("nested too deeply")
)

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) accept(c byte) bool {
	s.space()
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) expect(c byte) error {
	if s.accept(c) {
		return nil
	}
	if s.pos >= len(s.data) {
		return errEnd
	}
	return fmt.Errorf("expected %q, got %q", c, s.data[s.pos])
}

func (s *scanner) end() error {
	s.space()
	if s.pos < len(s.data) {
		return errTrail
	}
	return nil
}

// text reads a JSON string.
func (s *scanner) text() ([]byte, error) {
	s.space()
	if s.pos >= len(s.data) {
		return nil, errEnd
	}
	if s.data[s.pos] != '"' {
		return nil, errString
	}
	start := s.pos + 1
	for i := start; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return s.data[start:i], nil
		case c == '\\':
			return s.escaped(start)
		case c < 0x20:
			s.pos = i
			return nil, errControl
		}
	}
	return nil, errEnd
}

// escaped reads the rest of a string with escapes.
func (s *scanner) escaped(start int) ([]byte, error) {
	for i := start; i < len(s.data); i++ {
		switch s.data[i] {
		case '\\':
			i++
		case '"':
			var text string
			if err := json.Unmarshal(s.data[start-1:i+1], &text); err != nil {
				return nil, err
			}
			s.pos = i + 1
			return []byte(text), nil
		}
	}
	return nil, errEnd
}

// number reads a JSON number and returns its bytes.
func (s *scanner) number() ([]byte, error) {
	s.space()
	start := s.pos
	i := start
	if i < len(s.data) && s.data[i] == '-' {
		i++
	}
	first := i
	for i < len(s.data) && isDigit(s.data[i]) {
		i++
	}
	if i == first || (s.data[first] == '0' && i-first > 1) {
		return nil, errNumber
	}
	if i < len(s.data) && s.data[i] == '.' {
		i++
		fraction := i
		for i < len(s.data) && isDigit(s.data[i]) {
			i++
		}
		if i == fraction {
			return nil, errNumber
		}
	}
	if i < len(s.data) && (s.data[i] == 'e' || s.data[i] == 'E') {
		i++
		if i < len(s.data) && (s.data[i] == '+' || s.data[i] == '-') {
			i++
		}
		exponent := i
		for i < len(s.data) && isDigit(s.data[i]) {
			i++
		}
		if i == exponent {
			return nil, errNumber
		}
	}
	s.pos = i
	return s.data[start:i], nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (s *scanner) float() (float64, error) {
	start := s.pos
	text, err := s.number()
	if err != nil {
		return 0, fmt.Errorf("value: %w", err)
	}
	if v, ok := shortDecimal(text); ok {
		return v, nil
	}
	v, err := strconv.ParseFloat(unsafe.String(&text[0], len(text)), 64)
	if err != nil {
		s.pos = start
		return 0, errors.New("value is out of range for a double")
	}
	return v, nil
}

// shortDecimal parses [-]digits[.digits] with at most 15 digits. The digits and the power of ten
// are then exact doubles, so a single division rounds correctly (Clinger 1990).
func shortDecimal(text []byte) (float64, bool) {
	var mantissa int64
	scale, count := -1, 0
	negative := text[0] == '-'
	if negative {
		text = text[1:]
	}
	for i, c := range text {
		switch {
		case isDigit(c):
			mantissa = mantissa*10 + int64(c-'0')
			count++
		case c == '.':
			scale = len(text) - i - 1
		default:
			return 0, false
		}
	}
	if count > 15 {
		return 0, false
	}
	v := float64(mantissa)
	if scale > 0 {
		v /= powersOfTen[scale]
	}
	if negative {
		v = -v
	}
	return v, true
}

var powersOfTen = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

func (s *scanner) integer() (int64, error) {
	start := s.pos
	text, err := s.number()
	if err != nil {
		return 0, fmt.Errorf("seq: %w", err)
	}
	n, err := strconv.ParseInt(unsafe.String(&text[0], len(text)), 10, 64)
	if err != nil {
		s.pos = start
		return 0, errors.New("seq must be a 64-bit integer")
	}
	return n, nil
}

// skip skips a value of any kind.
func (s *scanner) skip() error { return s.skipValue(0) }

func (s *scanner) skipValue(depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	s.space()
	if s.pos >= len(s.data) {
		return errEnd
	}
	switch c := s.data[s.pos]; {
	case c == '"':
		_, err := s.text()
		return err
	case c == '{' || c == '[':
		s.pos++
		return s.skipNested(c, depth)
	case c == '-' || isDigit(c):
		_, err := s.number()
		return err
	default:
		return s.literal()
	}
}

func (s *scanner) skipNested(open byte, depth int) error {
	closing := byte('}')
	if open == '[' {
		closing = ']'
	}
	if s.accept(closing) {
		return nil
	}
	for {
		if open == '{' {
			if _, err := s.text(); err != nil {
				return err
			}
			if err := s.expect(':'); err != nil {
				return err
			}
		}
		if err := s.skipValue(depth + 1); err != nil {
			return err
		}
		if s.accept(',') {
			continue
		}
		return s.expect(closing)
	}
}

func (s *scanner) literal() error {
	for _, word := range [...]string{"true", "false", "null"} {
		if end := s.pos + len(word); end <= len(s.data) && string(s.data[s.pos:end]) == word {
			s.pos = end
			return nil
		}
	}
	return errValue
}
