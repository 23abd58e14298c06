package expr

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/column"
)

// Dates are stored as days since 1970, times as milliseconds of the day, timestamps as microseconds
// since 1970 (wall clock time for TIMESTAMP, UTC for TIMESTAMP_LTZ), and intervals as microseconds
// or months.

// Units of time in microseconds.
const (
	Millisecond int64 = 1000
	Second            = 1000 * Millisecond
	Minute            = 60 * Second
	Hour              = 60 * Minute
	Day               = 24 * Hour
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
	return int64(seconds) * Second
}

// toUTC converts a wall clock time to an instant. For a time that occurs twice it returns the first
// instant, and it moves a skipped time forward, as Java's LocalDateTime.atZone does: both use the
// offset from before the change.
func toUTC(us int64, zone Zone) int64 {
	if zone == nil || zone == time.UTC {
		return us
	}
	before, after := offsetAt(us-Day, zone), offsetAt(us+Day, zone)
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
	after := offsetAt(us+Day, zone)
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
	before, after := offsetAt(us-Day, zone), offsetAt(us+Day, zone)
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

// FormatDate formats days since 1970.
func FormatDate(days int64) string { return clock(days * Day).Format("2006-01-02") }

// FormatTimestamp formats microseconds since 1970 with as many fractional digits as needed.
func FormatTimestamp(us int64, between byte) string {
	return string(AppendTimestamp(make([]byte, 0, 32), us, between))
}

// AppendTimestamp is like FormatTimestamp, but appends to b.
func AppendTimestamp(b []byte, us int64, between byte) []byte {
	days := floorDiv(us, Day)
	rest := us - days*Day
	year, month, day := civil(days)
	if year < 0 || year > 9999 {
		return clock(us).AppendFormat(b, "2006-01-02"+string(between)+"15:04:05.999999")
	}
	b = appendDigits(b, int64(year), 4)
	b = append(b, '-')
	b = appendDigits(b, int64(month), 2)
	b = append(b, '-')
	b = appendDigits(b, int64(day), 2)
	b = append(b, between)
	b = appendDigits(b, rest/Hour, 2)
	b = append(b, ':')
	b = appendDigits(b, rest/Minute%60, 2)
	b = append(b, ':')
	b = appendDigits(b, rest/Second%60, 2)
	if fraction := rest % Second; fraction != 0 {
		b = append(b, '.')
		b = appendDigits(b, fraction, 6)
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return b
}

func appendDigits(b []byte, v int64, n int) []byte {
	start := len(b)
	for range n {
		b = append(b, '0')
	}
	for i := start + n - 1; i >= start; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return b
}

// civil returns the date of a day since 1970, using Howard Hinnant's civil_from_days.
func civil(days int64) (year, month, day int) {
	z := days + 719468
	era := floorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = int(doy - (153*mp+2)/5 + 1)
	month = int(mp + 3)
	if month > 12 {
		month -= 12
	}
	year = int(yoe + era*400)
	if month <= 2 {
		year++
	}
	return year, month, day
}

// daysOf returns the number of days from 1970-01-01 to a date.
func daysOf(year, month, day int) int64 {
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// formatPrecision formats a timestamp with a fixed number of fractional digits.
func formatPrecision(us int64, digits int) string {
	s := clock(us).Format("2006-01-02 15:04:05")
	return s + fraction(floorMod(us, Second), digits)
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }

func fraction(us int64, digits int) string {
	if digits == 0 {
		return ""
	}
	s := fmt.Sprintf("%06d000", us)
	return "." + s[:min(digits, 9)]
}

func formatClock(us int64, digits int) string {
	return clock(us).Format("15:04:05") + fraction(floorMod(us, Second), digits)
}

func formatIntervalDay(us int64) string {
	a := abs(us)
	return fmt.Sprintf("%s%d %02d:%02d:%02d.%03d", minus(us), a/Day, a/Hour%24, a/Minute%60, a/Second%60, a/Millisecond%1000)
}

// notTimestamp is the error for an invalid timestamp. It is formatted lazily, since TO_TIMESTAMP
// turns it into NULL.
type notTimestamp string

func (s notTimestamp) Error() string {
	return fmt.Sprintf("%q is not a timestamp such as '2026-01-31 12:00:00.123'", string(s))
}

// ParseTimestamp parses yyyy-MM-dd[ |T]HH:mm[:ss[.fraction]], or a date only. zoned reports whether
// it was followed by Z or an offset, which has been applied. There is no year 0.
func ParseTimestamp(s string) (us int64, zoned bool, err error) { return parseTimestamp(s, false) }

// parseTimestamp is like ParseTimestamp, but if loosely is set, 30 February is the last day of
// February.
func parseTimestamp(s string, loosely bool) (us int64, zoned bool, err error) {
	bad := notTimestamp(s)
	year, month, day, rest, ok := dateParts(strings.TrimSpace(s))
	if ok && loosely && day > 28 && day <= 31 && month >= 1 && month <= 12 {
		day = min(day, lastDay(year, month))
	}
	if !ok || year == 0 || !isDate(year, month, day) {
		return 0, false, bad
	}
	us = daysOf(year, month, day) * Day
	if rest == "" {
		return us, false, nil
	}
	if rest[0] != ' ' && rest[0] != 'T' {
		return 0, false, bad
	}
	clockUS, rest, ok := parseClock(rest[1:])
	if !ok {
		return 0, false, bad
	}
	us += clockUS
	if rest == "" {
		return us, false, nil
	}
	var f fields
	if rest, ok = f.readOffset(rest); !ok || rest != "" {
		return 0, false, bad
	}
	return us - f.offset, true, nil
}

// parseDate parses a valid date and returns the rest.
func parseDate(s string) (year, month, day int, rest string, ok bool) {
	year, month, day, rest, ok = dateParts(s)
	return year, month, day, rest, ok && isDate(year, month, day)
}

func isDate(year, month, day int) bool {
	return month >= 1 && month <= 12 && day >= 1 && day <= lastDay(year, month)
}

func lastDay(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// dateParts parses three numbers separated by hyphens and returns the rest.
func dateParts(s string) (year, month, day int, rest string, ok bool) {
	parts := [3]int{}
	for i := range parts {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' && n < 4 {
			parts[i] = parts[i]*10 + int(s[n]-'0')
			n++
		}
		if n == 0 {
			return 0, 0, 0, "", false
		}
		s = s[n:]
		if i < 2 {
			if s == "" || s[0] != '-' {
				return 0, 0, 0, "", false
			}
			s = s[1:]
		}
	}
	return parts[0], parts[1], parts[2], s, true
}

// parseClock parses HH:mm[:ss[.fraction]] and returns the rest.
func parseClock(s string) (us int64, rest string, ok bool) {
	limits := [3]int64{23, 59, 59}
	scale := [3]int64{Hour, Minute, Second}
	for i := range limits {
		if i > 0 {
			if s == "" || s[0] != ':' {
				return us, s, i >= 2
			}
			s = s[1:]
		}
		n, v := 0, int64(0)
		for n < len(s) && n < 2 && s[n] >= '0' && s[n] <= '9' {
			v = v*10 + int64(s[n]-'0')
			n++
		}
		if n == 0 || v > limits[i] {
			return 0, "", false
		}
		us += v * scale[i]
		s = s[n:]
	}
	if s != "" && s[0] == '.' {
		n, unit := 1, Second/10
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			us += int64(s[n]-'0') * unit
			unit /= 10
			n++
		}
		if n == 1 {
			return 0, "", false
		}
		s = s[n:]
	}
	return us, s, true
}

// ParseDateText parses yyyy-MM-dd into days since 1970.
func ParseDateText(s string) (int64, error) {
	y, m, d, rest, ok := parseDate(strings.TrimSpace(s))
	if !ok || rest != "" {
		return int64(0), fmt.Errorf("%q is not a date such as '2026-01-31'", s)
	}
	return daysOf(y, m, d), nil
}

// castTime is like ParseTimeText, but also accepts an hour only.
func castTime(s string) (int64, error) {
	s = strings.TrimSpace(s)
	if hour, err := strconv.ParseUint(s, 10, 8); err == nil && len(s) <= 2 && hour <= 23 {
		return int64(hour) * (Hour / Millisecond), nil
	}
	return ParseTimeText(s)
}

// ParseTimeText parses HH:mm:ss[.fraction] into milliseconds.
func ParseTimeText(s string) (int64, error) {
	us, rest, ok := parseClock(strings.TrimSpace(s))
	if !ok || rest != "" {
		return 0, fmt.Errorf("%q is not a time such as '12:30:00'", s)
	}
	return us / Millisecond, nil
}

// Round truncates a timestamp to a number of fractional digits.
func Round(us int64, digits int) int64 {
	if digits >= 6 {
		return us
	}
	unit := int64(math.Pow10(6 - digits))
	return floorDiv(us, unit) * unit
}

// castDate parses a date, optionally followed by a time, or only a year or a year and month.
func castDate(s string) (any, error) {
	s = strings.TrimSpace(s)
	if date, clock, timed := strings.Cut(s, " "); timed {
		if _, rest, ok := parseClock(clock); !ok || rest != "" {
			return nil, fmt.Errorf("%q is not a date such as '2026-01-31'", s)
		}
		s = date
	}
	for _, missing := range []string{"", "-1", "-1-1"} {
		if days, err := ParseDateText(s + missing); err == nil {
			return days, nil
		}
	}
	return ParseDateText(s)
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
		return Round(us, to.Precision), nil
	}
	n := v.(int64)
	if from.Kind == to.Kind {
		if to.Instant() {
			return Round(n, to.Precision), nil
		}
		return n, nil
	}
	// Convert by way of the wall clock time.
	local := n
	switch from.Kind {
	case column.Date:
		local = n * Day
	case column.Time:
		local = n * Millisecond
	case column.TimestampLTZ:
		local = toLocal(n, zone)
	}
	switch to.Kind {
	case column.Date:
		return floorDiv(local, Day), nil
	case column.Time:
		return floorMod(local, Day) / Millisecond, nil
	case column.TimestampLTZ:
		return Round(toUTC(local, zone), to.Precision), nil
	}
	return Round(local, to.Precision), nil
}

// local converts an argument of a date, time or timestamp type to wall clock time.
func local(v any, t column.Type, zone Zone) int64 {
	n := v.(int64)
	switch t.Kind {
	case column.Date:
		return n * Day
	case column.TimestampLTZ:
		return toLocal(n, zone)
	case column.Time:
		return n * Millisecond
	}
	return n
}
