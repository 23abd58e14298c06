package file

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// numbers parses the numbers of a file.
type numbers struct {
	decimal byte // '.' or ','
	fixed   bool // configured, not inferred: the other sign then separates thousands
}

var (
	commaDecimal = regexp.MustCompile(`^[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?$`)
	pointDecimal = regexp.MustCompile(`^[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?$`)
	maybeGrouped = regexp.MustCompile(`^[+-]?[1-9][0-9]{0,2},[0-9]{3}$`)
	grouped      = map[byte]*regexp.Regexp{
		'.': regexp.MustCompile(`^[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$`),
		',': regexp.MustCompile(`^[+-]?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?$`),
	}
)

// newNumbers returns the configured decimal sign. Without a setting, guess infers it.
func newNumbers(decimal string) (numbers, error) {
	switch decimal {
	case "":
		return numbers{decimal: '.'}, nil
	case ".", ",":
		return numbers{decimal: decimal[0], fixed: true}, nil
	}
	return numbers{}, fmt.Errorf("unknown decimal sign %q: choose . or ,", decimal)
}

// guess infers the decimal sign from the numbers of a sample. It returns an error if they are
// ambiguous.
func (n *numbers) guess(sample []placed) error {
	var comma, point, clear *placed
	for i := range sample {
		switch s := &sample[i]; {
		case commaDecimal.MatchString(s.text):
			if comma == nil {
				comma = s
			}
			if clear == nil && !maybeGrouped.MatchString(s.text) {
				clear = s
			}
		case point == nil && pointDecimal.MatchString(s.text):
			point = s
		}
	}
	switch {
	case n.fixed || comma == nil:
		return nil
	case point != nil:
		return fmt.Errorf("numbers have decimal commas (%s) and points (%s): choose --decimal ',' or --decimal '.' for the file", comma, point)
	case clear == nil:
		return fmt.Errorf("%s may have decimals or thousands: choose --decimal ',' or --decimal '.' for the file", comma)
	}
	n.decimal = ','
	return nil
}

// placed is a cell of a sample and its location.
type placed struct {
	text   string
	line   int64
	column string
}

func (p *placed) String() string {
	return fmt.Sprintf("%q in line %d, column %s", p.text, p.line, p.column)
}

// parse parses a number, or a boolean as 0 or 1.
func (n *numbers) parse(text string) (float64, error) {
	text = strings.TrimSpace(text)
	if n.decimal == '.' && strings.IndexByte(text, ',') < 0 || !strings.ContainsAny(text, ".,") {
		return parseValue(text)
	}
	return n.parseMarked(text)
}

// parseMarked parses a number with a comma, or with a point if the decimal sign is a comma.
func (n *numbers) parseMarked(text string) (float64, error) {
	other := byte(',')
	if n.decimal == ',' {
		other = '.'
	}
	plain := text
	if strings.IndexByte(text, other) >= 0 {
		groups := grouped[n.decimal].MatchString(text)
		if _, err := parseValue(strings.NewReplacer(".", "", ",", "").Replace(text)); err != nil {
			return 0, err // not a number either way
		}
		if !groups || !n.fixed && strings.IndexByte(text, n.decimal) < 0 {
			return 0, fmt.Errorf("%q has a %q, but the decimal sign of the file is %q (--decimal)", shorten(text), other, n.decimal)
		}
		plain = strings.ReplaceAll(text, string(other), "")
	}
	return parseValue(strings.Replace(plain, ",", ".", 1))
}

var errNotFinite = errors.New("is not a finite number")

// parseValue parses a number with a decimal point, or a boolean as 0 or 1.
func parseValue(text string) (float64, error) {
	text = strings.TrimSpace(text)
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		return v, nil
	}
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%q %w", shorten(text), errNotFinite)
	}
	switch strings.ToLower(text) {
	case "true":
		return 1, nil
	case "false":
		return 0, nil
	}
	return 0, fmt.Errorf("%q is neither a finite number nor a boolean", shorten(text))
}

// looksNumeric reports whether a text is a number or a boolean with any decimal sign. It
// distinguishes columns of values from columns of text.
func looksNumeric(text string) bool {
	text = strings.TrimSpace(text)
	if _, err := parseValue(text); err == nil || errors.Is(err, errNotFinite) {
		return true
	}
	return commaDecimal.MatchString(text) || grouped['.'].MatchString(text) || grouped[','].MatchString(text)
}

// isMissing reports whether a text denotes a missing value, which implies nothing about the kind of
// its column.
func isMissing(text string) bool {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "", "-", "--", "?", "na", "n/a", "#n/a", "#na", "nil", "null", "none", "missing", "unknown", "unavailable":
		return true
	}
	return false
}

func parseSeq(text string) (int64, error) {
	if text == "" {
		return 0, errors.New("the sequence number is missing")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a sequence number", shorten(text))
	}
	return n, nil
}

// shorten truncates a cell's text for an error.
func shorten(text string) string {
	const limit = 60
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "…"
}
