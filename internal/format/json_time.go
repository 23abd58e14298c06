package format

import (
	"fmt"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// Shorter forms such as 2026-1-1 can be cast, but are rejected in JSON. Seconds are optional.

// dateShaped reports whether text has the form of a date: \d{4}-\d{2}-\d{2}.
func dateShaped(s string) bool {
	return len(s) == 10 && digits(s[:4]) && s[4] == '-' && digits(s[5:7]) && s[7] == '-' && digits(s[8:])
}

// timeShaped reports whether text has the form of a time, \d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?Z?
func timeShaped(s string) bool {
	rest, ok := afterClock(s)
	return ok && (rest == "" || rest == "Z")
}

// timestampShaped reports whether text is a date, a space or T, a time, and optionally Z or an
// offset [+-]\d{2}:\d{2}.
func timestampShaped(s string) bool {
	if len(s) < 11 || !dateShaped(s[:10]) || s[10] != ' ' && s[10] != 'T' {
		return false
	}
	rest, ok := afterClock(s[11:])
	switch {
	case !ok:
		return false
	case rest == "" || rest == "Z":
		return true
	}
	return len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && digits(rest[1:3]) && rest[3] == ':' && digits(rest[4:])
}

// afterClock returns what follows hours, minutes, and optionally seconds with up to nine digits of
// a fraction.
func afterClock(s string) (rest string, ok bool) {
	if len(s) < 5 || !digits(s[:2]) || s[2] != ':' || !digits(s[3:5]) {
		return "", false
	}
	if s = s[5:]; len(s) < 3 || s[0] != ':' || !digits(s[1:3]) {
		return s, true
	}
	if s = s[3:]; len(s) < 2 || s[0] != '.' || !digits(s[1:2]) {
		return s, true
	}
	n := 2
	for n < len(s) && n < 10 && digits(s[n:n+1]) {
		n++
	}
	return s[n:], true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// moment parses a date, time or timestamp in the format's standard.
func (d *jsonDecoder) moment(s string, t column.Type) (int64, error) {
	switch t.Kind {
	case column.Date:
		if !dateShaped(s) {
			return 0, fmt.Errorf("found %q, expected a DATE such as \"2026-01-31\"", s)
		}
		return moment.ParseDate(s)
	case column.Time:
		if !timeShaped(s) {
			return 0, fmt.Errorf("found %q, expected a TIME such as \"12:00:00\"", s)
		}
		return moment.ParseTime(s)
	}
	between := byte(' ')
	if d.iso {
		between = 'T'
	}
	us, zoned, ok := fastTimestamp(s, between)
	if !ok {
		var err error
		if us, zoned, err = moment.ParseTimestamp(s); err != nil || !timestampShaped(s) || s[10] != between {
			return 0, d.noTimestamp(s, t)
		}
	}
	if zoned != (t.Kind == column.TimestampLTZ) {
		return 0, d.noTimestamp(s, t)
	}
	return moment.Truncate(us, t.Precision), nil
}

func (d *jsonDecoder) noTimestamp(s string, t column.Type) error {
	example, standard := "2026-01-31 12:00:00.123", "SQL"
	if d.iso {
		example, standard = "2026-01-31T12:00:00.123", "ISO-8601"
	}
	if t.Kind == column.TimestampLTZ {
		example += "Z"
	}
	return fmt.Errorf("found %q, expected %s such as %q (json.timestamp-format.standard is %s)", s, t.Nullable(true), example, standard)
}

// fastTimestamp parses the usual form: date, time with seconds, an optional fraction of up to six
// digits, optional Z.
func fastTimestamp(s string, between byte) (us int64, zoned, ok bool) {
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[10] != between || s[13] != ':' || s[16] != ':' {
		return 0, false, false
	}
	two := func(i int) int64 {
		a, b := s[i]-'0', s[i+1]-'0'
		if a > 9 || b > 9 {
			return 1000 // more than any of them
		}
		return int64(a)*10 + int64(b)
	}
	century, ofCentury, month, day := two(0), two(2), two(5), two(8)
	hour, minute, second := two(11), two(14), two(17)
	if century > 99 || ofCentury > 99 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return 0, false, false
	}
	year := century*100 + ofCentury
	if year == 0 || day > 28 && day > daysOf(year, month) {
		return 0, false, false
	}
	us = civilDays(year, month, day)*86_400_000_000 + hour*3_600_000_000 + minute*60_000_000 + second*1_000_000
	rest := s[19:]
	if rest != "" && rest[0] == '.' {
		unit, n := int64(100_000), 1
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			us += int64(rest[n]-'0') * unit
			unit /= 10
			n++
		}
		if n == 1 || n > 7 {
			return 0, false, false
		}
		rest = rest[n:]
	}
	switch rest {
	case "":
		return us, false, true
	case "Z":
		return us, true, true
	}
	return 0, false, false
}

// daysOf returns the number of days of a month.
func daysOf(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// civilDays returns the number of days since 1970-01-01 (Howard Hinnant, "chrono-Compatible
// Low-Level Date Algorithms").
func civilDays(year, month, day int64) int64 {
	if month <= 2 {
		year--
	}
	era := year / 400
	ofEra := year - era*400
	ofYear := (153*((month+9)%12)+2)/5 + day - 1
	return era*146097 + ofEra*365 + ofEra/4 - ofEra/100 + ofYear - 719468
}
