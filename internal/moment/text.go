package moment

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// FormatDate formats days since 1970.
func FormatDate(days int64) string { return time.UnixMicro(days * Day).UTC().Format("2006-01-02") }

// FormatTimestamp formats microseconds since 1970 with as many fractional digits as needed.
func FormatTimestamp(us int64, between byte) string {
	return string(AppendTimestamp(make([]byte, 0, 32), us, between))
}

// AppendTimestamp is like FormatTimestamp, but appends to b.
func AppendTimestamp(b []byte, us int64, between byte) []byte {
	days := FloorDiv(us, Day)
	rest := us - days*Day
	year, month, day := Date(days)
	if year < 0 || year > 9999 {
		return time.UnixMicro(us).UTC().AppendFormat(b, "2006-01-02"+string(between)+"15:04:05.999999")
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

// AppendLocalDateTime writes microseconds since 1970 as Java's LocalDateTime.toString does.
func AppendLocalDateTime(b []byte, us int64) []byte {
	days := FloorDiv(us, Day)
	return AppendLocalTime(append(append(b, FormatDate(days)...), 'T'), us-days*Day)
}

// AppendLocalTime writes microseconds of the day as Java's LocalTime.toString does: seconds only if
// there are any, and a fraction of 3 or 6 digits.
func AppendLocalTime(b []byte, us int64) []byte {
	b = fmt.Appendf(b, "%02d:%02d", us/Hour, us/Minute%60)
	second, fraction := us/Second%60, us%Second
	switch {
	case fraction%Millisecond != 0:
		return fmt.Appendf(b, ":%02d.%06d", second, fraction)
	case fraction != 0:
		return fmt.Appendf(b, ":%02d.%03d", second, fraction/Millisecond)
	case second != 0:
		return fmt.Appendf(b, ":%02d", second)
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

// InvalidTimestampError is the error for text that is not a timestamp. It is formatted lazily,
// since TO_TIMESTAMP turns it into NULL.
type InvalidTimestampError string

func (s InvalidTimestampError) Error() string {
	return fmt.Sprintf("%q is not a timestamp such as '2026-01-31 12:00:00.123'", string(s))
}

// ParseTimestamp parses yyyy-MM-dd[ |T]HH:mm[:ss[.fraction]], or a date only. zoned reports whether
// it was followed by Z or an offset, which has been applied. There is no year 0.
func ParseTimestamp(s string) (us int64, zoned bool, err error) { return parseTimestamp(s, false) }

// ParseLenientTimestamp is like ParseTimestamp, but for days up to the 31st that the month lacks it
// returns the last day: 30 February is the 28th or 29th.
func ParseLenientTimestamp(s string) (us int64, zoned bool, err error) {
	return parseTimestamp(s, true)
}

func parseTimestamp(s string, lenient bool) (us int64, zoned bool, err error) {
	bad := InvalidTimestampError(s)
	year, month, day, rest, ok := dateParts(strings.TrimSpace(s))
	if ok && lenient && day > 28 && day <= 31 && month >= 1 && month <= 12 {
		day = min(day, lastDay(year, month))
	}
	if !ok || year == 0 || !isDate(year, month, day) {
		return 0, false, bad
	}
	us = Days(year, month, day) * Day
	if rest == "" {
		return us, false, nil
	}
	if rest[0] != ' ' && rest[0] != 'T' {
		return 0, false, bad
	}
	clock, rest, ok := ParseClock(rest[1:])
	if !ok {
		return 0, false, bad
	}
	us += clock
	if rest == "" {
		return us, false, nil
	}
	offset, rest, ok := ParseOffset(rest)
	if !ok || rest != "" {
		return 0, false, bad
	}
	return us - offset, true, nil
}

// ParseDate parses yyyy-MM-dd into days since 1970.
func ParseDate(s string) (int64, error) {
	year, month, day, rest, ok := dateParts(strings.TrimSpace(s))
	if !ok || rest != "" || !isDate(year, month, day) {
		return 0, fmt.Errorf("%q is not a date such as '2026-01-31'", s)
	}
	return Days(year, month, day), nil
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

// ParseTime parses HH:mm:ss[.fraction] into milliseconds of the day.
func ParseTime(s string) (int64, error) {
	us, rest, ok := ParseClock(strings.TrimSpace(s))
	if !ok || rest != "" {
		return 0, fmt.Errorf("%q is not a time such as '12:30:00'", s)
	}
	return us / Millisecond, nil
}

// ParseClock parses HH:mm[:ss[.fraction]] at the start of s, in microseconds, and returns the rest.
func ParseClock(s string) (us int64, rest string, ok bool) {
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

// ParseOffset parses Z, +hh, +hhmm or +hh:mm at the start of s, in microseconds east of UTC, and
// returns the rest.
func ParseOffset(s string) (us int64, rest string, ok bool) {
	if rest, ok := strings.CutPrefix(s, "Z"); ok {
		return 0, rest, true
	}
	if s == "" || s[0] != '+' && s[0] != '-' {
		return 0, "", false
	}
	hours, ok := twoDigits(s[1:])
	if !ok || hours > 18 {
		return 0, "", false
	}
	us, rest = hours*Hour, s[3:]
	if minutes, ok := twoDigits(strings.TrimPrefix(rest, ":")); ok && minutes < 60 {
		us += minutes * Minute
		rest = strings.TrimPrefix(rest, ":")[2:]
	}
	if s[0] == '-' {
		us = -us
	}
	return us, rest, true
}

func twoDigits(s string) (int64, bool) {
	if len(s) < 2 {
		return 0, false
	}
	v, err := strconv.ParseUint(s[:2], 10, 8)
	return int64(v), err == nil
}
