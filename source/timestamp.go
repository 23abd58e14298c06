package source

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"weir/reading"
)

// timestamps reads event times of one file.
type timestamps struct {
	unit     float64 // milliseconds of one, for numbers; 0 for texts
	layouts  []string
	location *time.Location
}

// layouts are the forms of text that auto tries, all without a zone but the first two.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04",
	"2006/01/02 15:04:05.999999999", "01/02/2006 15:04:05", "02.01.2006 15:04:05", "2006-01-02",
}

var numberUnits = map[string]float64{"unix": 1000, "unix-ms": 1, "unix-us": 1e-3, "unix-ns": 1e-6}

// newTimestamps chooses how times are read. With auto, or no format, the first row's time decides whether
// they are numbers and of which unit.
func newTimestamps(format string, location *time.Location, sample string) (timestamps, error) {
	t := timestamps{location: location}
	switch unit, isNumber := numberUnits[format]; {
	case isNumber:
		t.unit = unit
	case format == "" || format == "auto":
		if v, err := strconv.ParseFloat(sample, 64); err == nil {
			t.unit = guessUnit(v)
		} else {
			t.layouts = layouts
		}
	case format == "rfc3339":
		t.layouts = []string{time.RFC3339Nano}
	case time.Unix(1e9, 0).UTC().Format(format) == format:
		return t, fmt.Errorf("unknown time format %q: choose auto, unix, unix-ms, unix-us, unix-ns, rfc3339, or a Go layout such as %q",
			format, "2006-01-02 15:04:05")
	default:
		t.layouts = []string{format}
	}
	return t, nil
}

// guessUnit tells seconds from milliseconds and finer by size: each range begins in the year 2001 or before
// and ends after 5000.
func guessUnit(v float64) float64 {
	switch a := math.Abs(v); {
	case a < 1e11:
		return numberUnits["unix"]
	case a < 1e14:
		return numberUnits["unix-ms"]
	case a < 1e17:
		return numberUnits["unix-us"]
	default:
		return numberUnits["unix-ns"]
	}
}

// parse returns milliseconds since the Unix epoch.
func (t *timestamps) parse(text string) (int64, error) {
	if text == "" {
		return 0, errors.New("the time is missing")
	}
	if t.unit != 0 {
		return t.number(text)
	}
	if ms, err := reading.ParseTime([]byte(text)); err == nil {
		return ms, nil
	}
	for _, layout := range t.layouts {
		if at, err := time.ParseInLocation(layout, text, t.location); err == nil {
			return at.UnixMilli(), nil
		}
	}
	return 0, fmt.Errorf("%q is not a time", shorten(text))
}

func (t *timestamps) number(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && t.unit == 1 {
		return n, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.Abs(v*t.unit) > 1e15 {
		return 0, fmt.Errorf("%q is not a time in numbers", shorten(text))
	}
	return int64(math.Floor(v * t.unit)), nil
}

// parseValue reads a number, or a boolean as 0 or 1.
func parseValue(text string) (float64, error) {
	text = strings.TrimSpace(text)
	if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		return v, nil
	}
	switch strings.ToLower(text) {
	case "true":
		return 1, nil
	case "false":
		return 0, nil
	}
	return 0, fmt.Errorf("%q is neither a finite number nor a boolean", shorten(text))
}

func parseSeq(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a sequence number", shorten(text))
	}
	return n, nil
}

// shorten keeps a cell's text readable in an error.
func shorten(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
