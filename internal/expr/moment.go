package expr

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// toLocal returns the wall clock time of an instant in a zone.
func toLocal(us int64, zone Zone) int64 {
	if zone == nil || zone == time.UTC {
		return us
	}
	return us + offsetAt(us, zone)
}

// offsetAt returns a zone's UTC offset at an instant, in microseconds, positive to the east.
func offsetAt(us int64, zone Zone) int64 {
	_, seconds := time.UnixMicro(us).In(zone).Zone()
	return int64(seconds) * moment.Second
}

// toUTC converts a wall clock time to an instant. For a time that occurs twice it returns the first
// instant, and it moves a skipped time forward, as Java's LocalDateTime.atZone does: both use the
// offset from before the change.
func toUTC(us int64, zone Zone) int64 {
	if zone == nil || zone == time.UTC {
		return us
	}
	before, after := offsetAt(us-moment.Day, zone), offsetAt(us+moment.Day, zone)
	first, second := us-before, us-after
	if before == after || offsetAt(first, zone) == before || offsetAt(second, zone) != after {
		return first
	}
	return second
}

// toLastUTC is like toUTC, but returns the second instant of a time that occurs twice, as
// java.text.SimpleDateFormat does.
func toLastUTC(us int64, zone Zone) int64 {
	if zone == nil || zone == time.UTC {
		return us
	}
	after := offsetAt(us+moment.Day, zone)
	if second := us - after; offsetAt(second, zone) == after {
		return second
	}
	return toUTC(us, zone)
}

// ToLocal returns the wall clock time of an instant, in microseconds.
func ToLocal(us int64, zone Zone) int64 { return toLocal(us, zone) }

// ToUTC returns the instant of a wall clock time, in microseconds.
func ToUTC(us int64, zone Zone) int64 { return toUTC(us, zone) }

// LastUTC returns the last instant at which the wall clock shows a time: the second one if the time
// occurs twice, or the instant of the change if it is skipped.
func LastUTC(us int64, zone Zone) int64 {
	if zone == nil || zone == time.UTC {
		return us
	}
	before, after := offsetAt(us-moment.Day, zone), offsetAt(us+moment.Day, zone)
	early, late := us-max(before, after), us-min(before, after)
	switch {
	case before == after:
		return early
	case before > after && offsetAt(late, zone) == after, before < after && offsetAt(late, zone) == before:
		return late
	case before > after || offsetAt(early, zone) == after:
		return early
	}
	change, _ := time.UnixMicro(late).In(zone).ZoneBounds()
	return change.UnixMicro()
}

// PastLocal returns the wall clock time before which, at an instant, all times are past for good:
// the current wall clock time, or the start of the hour that will repeat.
func PastLocal(us int64, zone Zone) int64 {
	local := ToLocal(us, zone)
	if zone == nil || zone == time.UTC || LastUTC(local, zone) <= us {
		return local
	}
	_, change := time.UnixMicro(us).In(zone).ZoneBounds() // when the clock is set back
	return min(local, ToLocal(change.UnixMicro(), zone))
}

func clock(us int64) time.Time { return time.UnixMicro(us).UTC() }

// formatPrecision formats a timestamp with a fixed number of fractional digits.
func formatPrecision(us int64, digits int) string {
	s := clock(us).Format("2006-01-02 15:04:05")
	return s + fraction(moment.FloorMod(us, moment.Second), digits)
}

func fraction(us int64, digits int) string {
	if digits == 0 {
		return ""
	}
	s := fmt.Sprintf("%06d000", us)
	return "." + s[:min(digits, 9)]
}

func formatClock(us int64, digits int) string {
	return clock(us).Format("15:04:05") + fraction(moment.FloorMod(us, moment.Second), digits)
}

func formatIntervalDay(us int64) string {
	a := abs(us)
	return fmt.Sprintf("%s%d %02d:%02d:%02d.%03d", minus(us), a/moment.Day, a/moment.Hour%24, a/moment.Minute%60, a/moment.Second%60, a/moment.Millisecond%1000)
}

// castTime is like ParseTimeText, but also accepts an hour only.
func castTime(s string) (int64, error) {
	s = strings.TrimSpace(s)
	if hour, err := strconv.ParseUint(s, 10, 8); err == nil && len(s) <= 2 && hour <= 23 {
		return int64(hour) * (moment.Hour / moment.Millisecond), nil
	}
	return moment.ParseTime(s)
}

// castDate parses a date, optionally followed by a time, or only a year or a year and month.
func castDate(s string) (any, error) {
	s = strings.TrimSpace(s)
	if date, clock, timed := strings.Cut(s, " "); timed {
		if _, rest, ok := moment.ParseClock(clock); !ok || rest != "" {
			return nil, fmt.Errorf("%q is not a date such as '2026-01-31'", s)
		}
		s = date
	}
	for _, missing := range []string{"", "-1", "-1-1"} {
		if days, err := moment.ParseDate(s + missing); err == nil {
			return days, nil
		}
	}
	return moment.ParseDate(s)
}

func castMoment(v any, from, to column.Type, zone Zone) (any, error) {
	if s, ok := v.(string); ok {
		switch to.Kind {
		case column.Date:
			return castDate(s)
		case column.Time:
			ms, err := castTime(s)
			return ms, err
		}
		us, _, err := parseSQL(s)
		if err != nil {
			return nil, err
		}
		if to.Kind == column.TimestampLTZ {
			us = toUTC(us, zone)
		}
		return moment.Truncate(us, to.Precision), nil
	}
	n := v.(int64)
	if from.Kind == to.Kind {
		if to.Instant() {
			return moment.Truncate(n, to.Precision), nil
		}
		return n, nil
	}
	// Convert by way of the wall clock time.
	local := n
	switch from.Kind {
	case column.Date:
		local = n * moment.Day
	case column.Time:
		local = n * moment.Millisecond
	case column.TimestampLTZ:
		local = toLocal(n, zone)
	}
	switch to.Kind {
	case column.Date:
		return moment.FloorDiv(local, moment.Day), nil
	case column.Time:
		return moment.FloorMod(local, moment.Day) / moment.Millisecond, nil
	case column.TimestampLTZ:
		return moment.Truncate(toUTC(local, zone), to.Precision), nil
	}
	return moment.Truncate(local, to.Precision), nil
}

// local converts an argument of a date, time or timestamp type to wall clock time.
func local(v any, t column.Type, zone Zone) int64 {
	n := v.(int64)
	switch t.Kind {
	case column.Date:
		return n * moment.Day
	case column.TimestampLTZ:
		return toLocal(n, zone)
	case column.Time:
		return n * moment.Millisecond
	}
	return n
}
