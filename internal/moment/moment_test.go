package moment

import (
	"testing"
	"time"
)

// Dates, their numbers and their texts agree with package time over 4,000 years, before 1970 too.
func TestCalendar(t *testing.T) {
	for days := int64(-2000 * 365); days < 2000*365; days += 13 {
		want := time.Unix(days*86400, 0).UTC()
		year, month, day := Date(days)
		if year != want.Year() || month != int(want.Month()) || day != want.Day() || Days(year, month, day) != days {
			t.Fatalf("day %d is %d-%d-%d, and that is day %d; want %s", days, year, month, day, Days(year, month, day), want)
		}
		if year == 0 { // in the calendar, but not in SQL
			continue
		}
		if got, err := ParseDate(FormatDate(days)); year > 0 && (err != nil || got != days) {
			t.Fatalf("%s is day %d, %v; want %d", FormatDate(days), got, err, days)
		}
	}
}

func TestTimestamps(t *testing.T) {
	for us, want := range map[int64]string{
		0:                       "1970-01-01 00:00:00",
		-1:                      "1969-12-31 23:59:59.999999",
		-Day:                    "1969-12-31 00:00:00",
		1_500 * Millisecond:     "1970-01-01 00:00:01.5",
		951_782_400 * Second:    "2000-02-29 00:00:00",
		253402300799 * Second:   "9999-12-31 23:59:59",
		-62135596800*Second + 1: "0001-01-01 00:00:00.000001",
	} {
		if got := FormatTimestamp(us, ' '); got != want {
			t.Errorf("%d is formatted as %s, want %s", us, got, want)
		}
		if got, zoned, err := ParseTimestamp(want); got != us || zoned || err != nil {
			t.Errorf("%s is parsed as %d, %t, %v; want %d", want, got, zoned, err, us)
		}
	}
	if got := FormatTimestamp(253402300800*Second, ' '); got != "10000-01-01 00:00:00" {
		t.Errorf("the year after 9999 is formatted as %s", got)
	}
}

func TestParseTimestamp(t *testing.T) {
	const noon = 12 * Hour
	for text, want := range map[string]struct {
		us    int64
		zoned bool
		valid bool
	}{
		"1970-01-01":                  {0, false, true},
		"1970-1-1 12:00":              {noon, false, true},
		" 1970-01-01T12:00:00 ":       {noon, false, true},
		"1970-01-01 12:00:00.1234567": {noon + 123456, false, true},
		"1970-01-01 12:00:00Z":        {noon, true, true},
		"1970-01-01 12:00:00+02:30":   {noon - 150*Minute, true, true},
		"1970-01-01 12:00:00-0230":    {noon + 150*Minute, true, true},
		"1970-01-01 12:00:00+02":      {noon - 2*Hour, true, true},
		"1970-01-01 12:00:00+19":      {},
		"1970-01-01 12":               {},
		"1970-01-01 24:00":            {},
		"1970-01-01 12:00:00.":        {},
		"1970-01-01x12:00":            {},
		"1970-02-30":                  {},
		"1970-13-01":                  {},
		"0000-01-01":                  {},
		"1970-01":                     {},
		"":                            {},
	} {
		us, zoned, err := ParseTimestamp(text)
		if us != want.us || zoned != want.zoned || (err == nil) != want.valid {
			t.Errorf("%q is parsed as %d, %t, %v; want %+v", text, us, zoned, err, want)
		}
	}
	if us, _, err := ParseLenientTimestamp("1972-02-31"); err != nil || FormatTimestamp(us, ' ') != "1972-02-29 00:00:00" {
		t.Errorf("31 February is %s, %v; want 29 February", FormatTimestamp(us, ' '), err)
	}
	if _, _, err := ParseLenientTimestamp("1972-02-32"); err == nil {
		t.Error("32 February is accepted")
	}
}

func TestTruncate(t *testing.T) {
	for _, c := range []struct {
		us     int64
		digits int
		want   int64
	}{{1_234_567, 6, 1_234_567}, {1_234_567, 3, 1_234_000}, {1_234_567, 0, 1_000_000}, {-1, 3, -1000}, {-1, 0, -1_000_000}} {
		if got := Truncate(c.us, c.digits); got != c.want {
			t.Errorf("%d with %d digits is %d, want %d", c.us, c.digits, got, c.want)
		}
	}
}
