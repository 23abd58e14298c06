package file

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/reading"
)

// timestamps parses the event times of a file.
type timestamps struct {
	unit     *unit    // of numbers; nil if not configured
	auto     bool     // numbers are epochs, their unit inferred from their magnitude
	layouts  []string // of texts, most recently used first
	location *time.Location
	from, to int64 // range of valid event times, in milliseconds
	years    string
}

// unit is a unit of time since 1970.
type unit struct {
	name     string
	perMilli int64 // units per millisecond, 0 for seconds
}

var units = map[string]*unit{
	"unix": {"seconds", 0}, "unix-ms": {"milliseconds", 1}, "unix-us": {"microseconds", 1e3}, "unix-ns": {"nanoseconds", 1e6},
}

// layouts are the layouts that auto tries. Each accepts fractions of a second after the seconds.
var layouts = []string{
	time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z0700",
	"2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05 Z0700", "2006-01-02 15:04:05 UTC",
	"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04",
	"2006/01/02 15:04:05", "2006/01/02 15:04", "02.01.2006 15:04:05", "02.01.2006 15:04", "2006-01-02",
}

// Dates with slashes begin with the day or the month; the sample decides.
var (
	monthFirst = []string{"01/02/2006 15:04:05", "01/02/2006 15:04", "1/2/2006 15:04:05", "1/2/2006 15:04"}
	dayFirst   = []string{"02/01/2006 15:04:05", "02/01/2006 15:04", "2/1/2006 15:04:05", "2/1/2006 15:04"}
)

// Default range of event times. Times outside it come from clocks that were never set, dates
// written as numbers, and epochs in another unit.
const (
	firstYear = 1990
	lastYear  = 2100
)

// newTimestamps determines the format of times. For auto it uses the sample to resolve ambiguities
// of single times, and returns an error if the sample is ambiguous.
func newTimestamps(cfg *Config, sample []placed) (timestamps, error) {
	t := timestamps{location: cfg.Location}
	if err := t.setYears(cfg.Years); err != nil {
		return t, err
	}
	switch format := cfg.TSFormat; {
	case units[format] != nil:
		t.unit = units[format]
	case format == "" || format == "auto":
		t.auto = true
		slashes, err := slashLayouts(sample)
		if err == nil {
			err = refuseHours(sample)
		}
		if err != nil {
			return t, err
		}
		t.layouts = append(append(t.layouts, layouts...), slashes...)
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

func (t *timestamps) setYears(years [2]int) error {
	if years == [2]int{} {
		years = [2]int{firstYear, lastYear}
	}
	if years[0] < 1 || years[1] > 9999 || years[0] > years[1] {
		return fmt.Errorf("invalid range of years %d to %d: choose years from 1 to 9999, the earlier one first", years[0], years[1])
	}
	t.years = fmt.Sprintf("%d to %d", years[0], years[1])
	t.from = time.Date(years[0], 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	t.to = time.Date(years[1]+1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1
	return nil
}

// slashLayouts returns the layouts of dates with slashes that fit the whole sample.
func slashLayouts(sample []placed) ([]string, error) {
	var month, day *placed // the first cell that fits only this order
	var example *placed
	for i := range sample {
		s := &sample[i]
		a, rest, ok := strings.Cut(s.text, "/")
		b, _, more := strings.Cut(rest, "/")
		first, err1 := strconv.Atoi(a)
		second, err2 := strconv.Atoi(b)
		if !ok || !more || err1 != nil || err2 != nil || first > 31 || second > 31 {
			continue
		}
		example = s
		switch {
		case first > 12 && day == nil:
			day = s
		case second > 12 && month == nil:
			month = s
		}
	}
	switch {
	case example == nil:
		return nil, nil
	case month != nil && day != nil:
		return nil, fmt.Errorf("the month comes first in %s, but the day in %s: no --ts-format matches both", month, day)
	case month != nil:
		return monthFirst, nil
	case day != nil:
		return dayFirst, nil
	}
	return nil, fmt.Errorf("the day or the month may come first in %s: choose with --ts-format, such as %q or %q",
		example, dayFirst[0], monthFirst[0])
}

// refuseHours returns an error if all numbers of the sample are both plausible epochs and dates
// with an hour (2026010112 as an epoch is in 2034).
func refuseHours(sample []placed) error {
	for i := range sample {
		if _, err := time.Parse("2006010215", sample[i].text); err != nil || len(sample[i].text) != 10 {
			return nil
		}
	}
	if len(sample) == 0 {
		return nil
	}
	return fmt.Errorf("%s may be a date with an hour (yyyymmddhh) or seconds since 1970: choose with --ts-format 2006010215 or unix",
		&sample[0])
}

// parse parses a time to milliseconds since the Unix epoch, rounded down.
func (t *timestamps) parse(text string) (int64, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, errors.New("the time is missing")
	}
	if u := t.unit; u != nil || t.auto && isNumber(text) {
		return t.number(text, u)
	}
	ms, err := t.text(text)
	if err != nil {
		return 0, err
	}
	if ms < t.from || ms > t.to {
		return 0, fmt.Errorf("%s is in the year %d, outside %s: set the valid years with --ts-years", shorten(text), time.UnixMilli(ms).UTC().Year(), t.years)
	}
	return ms, nil
}

func (t *timestamps) text(text string) (int64, error) {
	if ms, err := reading.ParseTime([]byte(text)); err == nil {
		return ms, nil
	}
	for i, layout := range t.layouts {
		if at, err := time.ParseInLocation(layout, text, t.location); err == nil {
			copy(t.layouts[1:i+1], t.layouts[:i])
			t.layouts[0] = layout
			return at.UnixMilli(), nil
		}
	}
	return 0, fmt.Errorf("%q is not a time", shorten(text))
}

func isNumber(text string) bool {
	if c := text[len(text)-1]; (c < '0' || c > '9') && c != '.' {
		return false
	}
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

// number parses an epoch. Without a unit, the magnitude decides: the plausible ranges of the units
// are far apart.
func (t *timestamps) number(text string, u *unit) (int64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.Abs(v) > 1e20 {
		return 0, fmt.Errorf("%q is not a numeric time", shorten(text))
	}
	guessed := u == nil
	if guessed {
		u = guessUnit(v)
	}
	ms, ok := u.millis(text)
	if ok && ms >= t.from && ms <= t.to {
		return ms, nil
	}
	if guessed {
		for _, date := range []struct{ layout, name string }{{"20060102", "yyyymmdd"}, {"20060102150405", "yyyymmddhhmmss"}, {"200601021504", "yyyymmddhhmm"}} {
			if _, err := time.Parse(date.layout, text); err == nil {
				return 0, fmt.Errorf("%s is a date (%s), not an epoch: use --ts-format %s", text, date.name, date.layout)
			}
		}
	}
	if at := time.UnixMilli(ms).UTC(); ok && at.Year() >= 1 && at.Year() <= 9999 {
		return 0, fmt.Errorf("%s as %s since 1970 is in the year %d, outside %s: set the format with --ts-format, or the valid years with --ts-years",
			shorten(text), u.name, at.Year(), t.years)
	}
	return 0, fmt.Errorf("%s as %s since 1970 is outside the years 1 to 9999", shorten(text), u.name)
}

// guessUnit infers the unit of an epoch from its magnitude. Each range begins in 2001 or earlier
// and ends after the year 5000.
func guessUnit(v float64) *unit {
	switch a := math.Abs(v); {
	case a < 1e11:
		return units["unix"]
	case a < 1e14:
		return units["unix-ms"]
	case a < 1e17:
		return units["unix-us"]
	default:
		return units["unix-ns"]
	}
}

// maxExponent bounds the digits of an exact number.
const maxExponent = 30

// millis converts a number to milliseconds exactly, rounded down; a float64 could be off by one.
func (u *unit) millis(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if u.perMilli == 0 {
			return n * 1000, n < math.MaxInt64/1000 && n > math.MinInt64/1000
		}
		ms := n / u.perMilli
		if n < 0 && n%u.perMilli != 0 {
			ms--
		}
		return ms, true
	}
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		if exponent, err := strconv.Atoi(text[at+1:]); err != nil || exponent < -maxExponent || exponent > maxExponent {
			return 0, false
		}
	}
	exact, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, false
	}
	if u.perMilli == 0 {
		exact.Mul(exact, big.NewRat(1000, 1))
	} else {
		exact.Quo(exact, big.NewRat(u.perMilli, 1))
	}
	floor := new(big.Int).Div(exact.Num(), exact.Denom()) // Euclidean: down for a positive denominator
	return floor.Int64(), floor.IsInt64()
}
