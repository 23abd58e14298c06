// Package moment represents dates, times and timestamps as SQL values, and reads and writes their
// text. It knows neither time zones nor date patterns: package expr has those.
//
// Dates are stored as days since 1970, times as milliseconds of the day, timestamps as microseconds
// since 1970 (wall clock time for TIMESTAMP, UTC for TIMESTAMP_LTZ), and intervals as microseconds
// or months.
//
//	moment.go    units of time, the calendar, rounding down
//	text.go      formatting and parsing
package moment

import (
	"math"
	"time"
)

// Units of time in microseconds.
const (
	Millisecond int64 = 1000
	Second            = 1000 * Millisecond
	Minute            = 60 * Second
	Hour              = 60 * Minute
	Day               = 24 * Hour
)

// Truncate rounds a timestamp down to a number of fractional digits.
func Truncate(us int64, digits int) int64 {
	if digits >= 6 {
		return us
	}
	unit := int64(math.Pow10(6 - digits))
	return FloorDiv(us, unit) * unit
}

// FloorDiv divides by a positive number and rounds down, so that times before 1970 belong to the
// right day.
func FloorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// FloorMod returns the remainder of FloorDiv, which is never negative.
func FloorMod(a, b int64) int64 { return a - FloorDiv(a, b)*b }

// Date returns the date of a day since 1970, using Howard Hinnant's civil_from_days.
func Date(days int64) (year, month, day int) {
	z := days + 719468
	era := FloorDiv(z, 146097)
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

// Days returns the number of days from 1970-01-01 to a date. Months and days beyond the end of the
// year or month are carried over.
func Days(year, month, day int) int64 {
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

func isDate(year, month, day int) bool {
	return month >= 1 && month <= 12 && day >= 1 && day <= lastDay(year, month)
}

func lastDay(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
