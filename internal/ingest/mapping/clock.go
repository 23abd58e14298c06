package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// clock determines event times.
type clock struct {
	paths    []*path // the first that exists counts; none: the time of arrival
	format   string  // auto, rfc3339, one of epochs, or a Go layout
	location *time.Location
}

// epochs are units of numbers since 1970, per millisecond.
var epochs = map[string]*big.Rat{
	"unix": big.NewRat(1, 1000), "unix-ms": big.NewRat(1, 1), "unix-us": big.NewRat(1000, 1), "unix-ns": big.NewRat(1_000_000, 1),
}

// checkFormat returns an error if a format of times cannot be used.
func checkFormat(format string) error {
	switch {
	case format == "", format == "auto", format == "rfc3339", epochs[format] != nil:
		return nil
	case time.Unix(1e9, 0).UTC().Format(format) == format:
		return fmt.Errorf("unknown format of times %q: choose rfc3339, unix, unix-ms, unix-us, unix-ns, or a Go layout such as %q", format, "2006-01-02 15:04:05")
	}
	return nil
}

// Event times outside these years come from clocks that were never set, or are in another unit.
var (
	earliest = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	latest   = time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1
)

// time returns the event time in milliseconds.
func (c *clock) time(s *scope, arrived time.Time) (int64, error) {
	for _, p := range c.paths {
		v, ok := p.in(s)
		if !ok {
			continue
		}
		ts, err := c.parse(v)
		if err != nil {
			return 0, fmt.Errorf("ts: %s: %w", p, err)
		}
		return InRange(ts)
	}
	return InRange(arrived.UnixMilli())
}

// InRange returns an event time in milliseconds, or an error if it is outside the years 1990 to
// 2100.
func InRange(ts int64) (int64, error) {
	if ts < earliest || ts > latest {
		return 0, fmt.Errorf("ts: %s is outside the years 1990 to 2100: is it in another unit?", time.UnixMilli(ts).UTC().Format(time.RFC3339))
	}
	return ts, nil
}

// localTime is RFC 3339 without an offset.
const localTime = "2006-01-02T15:04:05"

func (c *clock) parse(v any) (int64, error) {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
		if c.format == "" || c.format == "auto" || c.format == "rfc3339" {
			return 0, fmt.Errorf("%s is a number: set ts_format to its unit, such as unix or unix-ms", text)
		}
	case string:
		text = v
	default:
		return 0, errors.New("it is neither text nor a number")
	}
	if unit := epochs[c.format]; unit != nil {
		return epoch(text, unit)
	}
	switch c.format {
	case "", "auto", "rfc3339":
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil && c.location != nil {
			t, err = time.ParseInLocation(localTime, text, c.location)
		}
		if err != nil {
			if _, local := time.Parse(localTime, text); local == nil {
				return 0, fmt.Errorf("%q has no offset: set timezone", text)
			}
			return 0, fmt.Errorf("%q is not a time such as 2026-01-31T23:59:59Z", text)
		}
		return t.UnixMilli(), nil
	}
	location := c.location
	if location == nil {
		location = time.UTC
	}
	t, err := time.ParseInLocation(c.format, text, location)
	if err != nil {
		return 0, fmt.Errorf("%q does not have the format %q", text, c.format)
	}
	return t.UnixMilli(), nil
}

// epoch parses a number since 1970 to milliseconds, rounded down.
func epoch(text string, perMilli *big.Rat) (int64, error) {
	if len(text) > 40 || strings.ContainsAny(text, "/_xXpPeE") {
		return 0, fmt.Errorf("%.40q is not a number", text)
	}
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	n.Quo(n, perMilli)
	ms := new(big.Int).Div(n.Num(), n.Denom()) // Euclidean: rounds down, since the denominator is positive
	if !ms.IsInt64() {
		return 0, fmt.Errorf("%s is too large", text)
	}
	return ms.Int64(), nil
}
