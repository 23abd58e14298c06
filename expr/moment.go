package expr

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Dates are days since 1970, times milliseconds of the day, both kinds of timestamps microseconds since 1970 (a
// TIMESTAMP in its own clock, a TIMESTAMP_LTZ in UTC), intervals microseconds or months.

// Units of time in microseconds.
const (
	Millisecond int64 = 1000
	Second            = 1000 * Millisecond
	Minute            = 60 * Second
	Hour              = 60 * Minute
	Day               = 24 * Hour
)

func init() {
	for _, unit := range []string{"YEAR", "QUARTER", "MONTH", "WEEK", "DAYOFYEAR", "DAYOFMONTH", "DAYOFWEEK", "HOUR", "MINUTE", "SECOND"} {
		register(simple(unit, "t", Of(BigInt), extractNamed(unit)))
	}
	register(
		&Function{Name: "EXTRACT", Min: 2, Max: 2, bind: bindExtract, eval: evalExtract},
		&Function{Name: "FLOOR TO", Min: 2, Max: 2, bind: bindRound("FLOOR"), eval: evalRound(false)},
		&Function{Name: "CEIL TO", Min: 2, Max: 2, bind: bindRound("CEIL"), eval: evalRound(true)},
		&Function{Name: "TIMESTAMPADD", Min: 3, Max: 3, bind: bindTimestampAdd, eval: evalTimestampAdd},
		&Function{Name: "TIMESTAMPDIFF", Min: 3, Max: 3, bind: bindTimestampDiff, eval: evalTimestampDiff},
		&Function{Name: "DATE_FORMAT", Min: 2, Max: 2, bind: bindDateFormat, eval: evalDateFormat},
		maybe("TO_TIMESTAMP", "ss?", OfTime(Timestamp, 3), evalToTimestamp),
		maybe("TO_TIMESTAMP_LTZ", "ni?", OfTime(TimestampLTZ, 3), evalToTimestampLTZ),
		maybe("TO_DATE", "ss?", Of(Date), evalToDate),
		simple("FROM_UNIXTIME", "is?", Of(String), evalFromUnixtime),
		simple("UNIX_TIMESTAMP", "ss?", Of(BigInt), evalUnixTimestamp),
		maybe("CONVERT_TZ", "sss", Of(String), evalConvertTZ),
		simple("MINUS MOMENTS", "TTu", Of(IntervalDay), evalMinusMoments),
	)
}

// toLocal is the wall clock of an instant in a zone; toUTC goes back.
func toLocal(us int64, zone Zone) int64 {
	if zone == nil || zone == time.UTC {
		return us
	}
	_, offset := time.UnixMicro(us).In(zone).Zone()
	return us + int64(offset)*Second
}

func toUTC(us int64, zone Zone) int64 {
	if zone == nil || zone == time.UTC {
		return us
	}
	t := time.UnixMicro(us).UTC()
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone).UnixMicro()
}

// ToLocal is the wall clock of an instant in microseconds.
func ToLocal(us int64, zone Zone) int64 { return toLocal(us, zone) }

// ToUTC is the instant of a wall clock in microseconds.
func ToUTC(us int64, zone Zone) int64 { return toUTC(us, zone) }

func clock(us int64) time.Time { return time.UnixMicro(us).UTC() }

// FormatDate writes days since 1970.
func FormatDate(days int64) string { return clock(days * Day).Format("2006-01-02") }

// FormatTimestamp writes microseconds since 1970 with as many digits of a second as it has.
func FormatTimestamp(us int64, between byte) string {
	return string(AppendTimestamp(make([]byte, 0, 32), us, between))
}

// AppendTimestamp is FormatTimestamp without allocation.
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

// civil is the date of a day since 1970 (Howard Hinnant's days_to_civil).
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

// daysOf is the day since 1970 of a date.
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

// formatPrecision writes exactly so many digits of a second.
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

// ParseTimestamp reads yyyy-MM-dd[ |T]HH:mm[:ss[.fraction]], or a date alone. zoned tells that a Z or an offset was behind it,
// which is taken into account.
func ParseTimestamp(s string) (us int64, zoned bool, err error) {
	bad := fmt.Errorf("%q is no timestamp such as '2026-01-31 12:00:00.123'", s)
	r := strings.TrimSpace(s)
	year, month, day, rest, ok := parseDate(r)
	if !ok {
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
	switch {
	case rest == "":
		return us, false, nil
	case rest == "Z":
		return us, true, nil
	case rest[0] == '+' || rest[0] == '-':
		var h, m int
		if n, _ := fmt.Sscanf(rest[1:], "%02d:%02d", &h, &m); n == 0 {
			return 0, false, bad
		}
		offset := int64(h)*Hour + int64(m)*Minute
		if rest[0] == '+' {
			offset = -offset
		}
		return us + offset, true, nil
	}
	return 0, false, bad
}

func parseDate(s string) (year, month, day int, rest string, ok bool) {
	if len(s) < 8 {
		return 0, 0, 0, "", false
	}
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
	t := time.Date(parts[0], time.Month(parts[1]), parts[2], 0, 0, 0, 0, time.UTC)
	if t.Day() != parts[2] || int(t.Month()) != parts[1] {
		return 0, 0, 0, "", false
	}
	return parts[0], parts[1], parts[2], s, true
}

// parseClock reads HH:mm[:ss[.fraction]] and returns what is behind it.
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

// ParseDateText reads yyyy-MM-dd into days.
func ParseDateText(s string) (int64, error) {
	y, m, d, rest, ok := parseDate(strings.TrimSpace(s))
	if !ok || rest != "" {
		return 0, fmt.Errorf("%q is no date such as '2026-01-31'", s)
	}
	return daysOf(y, m, d), nil
}

// ParseTimeText reads HH:mm:ss[.fraction] into milliseconds.
func ParseTimeText(s string) (int64, error) {
	us, rest, ok := parseClock(strings.TrimSpace(s))
	if !ok || rest != "" {
		return 0, fmt.Errorf("%q is no time such as '12:30:00'", s)
	}
	return us / Millisecond, nil
}

// Round cuts a timestamp to digits of a second.
func Round(us int64, digits int) int64 {
	if digits >= 6 {
		return us
	}
	unit := int64(math.Pow10(6 - digits))
	return floorDiv(us, unit) * unit
}

func castMoment(v any, from, to Type, zone Zone) (any, error) {
	if s, ok := v.(string); ok {
		switch to.Kind {
		case Date:
			us, _, err := ParseTimestamp(s)
			return floorDiv(us, Day), err
		case Time:
			ms, err := ParseTimeText(s)
			return ms, err
		}
		us, zoned, err := ParseTimestamp(s)
		if err != nil {
			return nil, err
		}
		if to.Kind == TimestampLTZ && !zoned {
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
	// By way of the local clock.
	local := n
	switch from.Kind {
	case Date:
		local = n * Day
	case TimestampLTZ:
		local = toLocal(n, zone)
	}
	switch to.Kind {
	case Date:
		return floorDiv(local, Day), nil
	case Time:
		return floorMod(local, Day) / Millisecond, nil
	case TimestampLTZ:
		return Round(toUTC(local, zone), to.Precision), nil
	}
	return Round(local, to.Precision), nil
}

// compileMoment adds and subtracts intervals.
func compileMoment(n *Call, args []*Compiled) (*Compiled, error) {
	x, y := args[0], args[1]
	if x.Type.Interval() {
		x, y = y, x
	}
	sign := int64(1)
	if n.F.Name == "-" {
		sign = -1
	}
	kind, months := x.Type.Kind, y.Type.Kind == IntervalMonth
	return &Compiled{Type: n.T, I: func(b *Batch, row int) (int64, bool) {
		v, ok := x.I(b, row)
		if !ok {
			return 0, false
		}
		by, ok := y.I(b, row)
		if !ok {
			return 0, false
		}
		return addInterval(v, kind, sign*by, months), true
	}}, nil
}

func addInterval(v int64, kind Kind, by int64, months bool) int64 {
	switch {
	case months && kind == Date:
		return addMonths(v, by)
	case months && kind != Time:
		days := floorDiv(v, Day)
		return addMonths(days, by)*Day + v - days*Day
	case kind == Date:
		return v + by/Day
	case kind == Time:
		return floorMod(v+by/Millisecond, Day/Millisecond)
	}
	return v + by
}

// addMonths keeps the day of the month, or takes the month's last.
func addMonths(days, months int64) int64 {
	year, month, day := civil(days)
	total := int64(year)*12 + int64(month-1) + months
	y, m := int(floorDiv(total, 12)), int(floorMod(total, 12))+1
	last := time.Date(y, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return daysOf(y, m, min(day, last))
}

// local brings an argument of a date or timestamp type to a wall clock.
func local(v any, t Type, zone Zone) int64 {
	n := v.(int64)
	switch t.Kind {
	case Date:
		return n * Day
	case TimestampLTZ:
		return toLocal(n, zone)
	case Time:
		return n * Millisecond
	}
	return n
}

func extractNamed(unit string) func(n *Call, args []any) (any, error) {
	return func(n *Call, args []any) (any, error) {
		return extract(unit, local(args[0], n.Args[0].Type(), n.Zone))
	}
}

func bindExtract(args []Node) ([]Node, Type, error) {
	t := args[1].Type()
	if !t.Temporal() {
		return nil, Type{}, fmt.Errorf("EXTRACT wants a date, time or timestamp, not %s", t.Nullable(true))
	}
	if _, err := extract(args[0].(*Const).Value.(string), 0); err != nil {
		return nil, Type{}, err
	}
	return args, Of(BigInt).Nullable(!t.NotNull), nil
}

func evalExtract(n *Call, args []any) (any, error) {
	return extract(args[0].(string), local(args[1], n.Args[1].Type(), n.Zone))
}

func extract(unit string, us int64) (any, error) {
	t := clock(us)
	var v int
	switch unit {
	case "YEAR":
		v = t.Year()
	case "QUARTER":
		v = (int(t.Month()) + 2) / 3
	case "MONTH":
		v = int(t.Month())
	case "WEEK":
		_, v = t.ISOWeek()
	case "DAY", "DAYOFMONTH":
		v = t.Day()
	case "DOY", "DAYOFYEAR":
		v = t.YearDay()
	case "DOW", "DAYOFWEEK":
		v = int(t.Weekday()) + 1
	case "ISODOW":
		v = (int(t.Weekday())+6)%7 + 1
	case "HOUR":
		v = t.Hour()
	case "MINUTE":
		v = t.Minute()
	case "SECOND":
		v = t.Second()
	case "MILLISECOND":
		return floorMod(us, Second) / Millisecond, nil
	case "MICROSECOND":
		return floorMod(us, Second), nil
	case "EPOCH":
		return floorDiv(us, Second), nil
	default:
		return nil, fmt.Errorf("unit %s can't be extracted: use YEAR, QUARTER, MONTH, WEEK, DAY, DOY, DOW, HOUR, MINUTE, SECOND, MILLISECOND or EPOCH", unit)
	}
	return int64(v), nil
}

func bindRound(name string) func(args []Node) ([]Node, Type, error) {
	return func(args []Node) ([]Node, Type, error) {
		t := args[0].Type()
		if !t.Temporal() {
			return nil, Type{}, fmt.Errorf("%s … TO wants a date, time or timestamp, not %s", name, t.Nullable(true))
		}
		if _, err := roundMoment(0, args[1].(*Const).Value.(string), false); err != nil {
			return nil, Type{}, err
		}
		return args, t, nil
	}
}

func evalRound(up bool) func(n *Call, args []any) (any, error) {
	return func(n *Call, args []any) (any, error) {
		t := n.Args[0].Type()
		us, err := roundMoment(local(args[0], t, n.Zone), args[1].(string), up)
		switch t.Kind {
		case Date:
			return floorDiv(us, Day), err
		case Time:
			return us / Millisecond, err
		case TimestampLTZ:
			return toUTC(us, n.Zone), err
		}
		return us, err
	}
}

func roundMoment(us int64, unit string, up bool) (int64, error) {
	fixed := map[string]int64{"MILLISECOND": Millisecond, "SECOND": Second, "MINUTE": Minute, "HOUR": Hour, "DAY": Day}
	if size, ok := fixed[unit]; ok {
		down := floorDiv(us, size) * size
		if up && down != us {
			return down + size, nil
		}
		return down, nil
	}
	year, month, _ := civil(floorDiv(us, Day))
	var down, next int64
	switch unit {
	case "WEEK":
		days := floorDiv(us, Day)
		sunday := days - floorMod(days+4, 7)
		down, next = sunday, sunday+7
	case "MONTH":
		down, next = daysOf(year, month, 1), daysOf(year, month+1, 1)
	case "QUARTER":
		first := (month-1)/3*3 + 1
		down, next = daysOf(year, first, 1), daysOf(year, first+3, 1)
	case "YEAR":
		down, next = daysOf(year, 1, 1), daysOf(year+1, 1, 1)
	default:
		return 0, fmt.Errorf("can't round to %s", unit)
	}
	if up && down*Day != us {
		return next * Day, nil
	}
	return down * Day, nil
}

var unitSizes = map[string]int64{
	"MICROSECOND": 1, "MILLISECOND": Millisecond, "SECOND": Second, "MINUTE": Minute, "HOUR": Hour, "DAY": Day, "WEEK": 7 * Day,
}

var unitMonths = map[string]int64{"MONTH": 1, "QUARTER": 3, "YEAR": 12}

// unitOf brings SQL_TSI_DAY and DAYS to DAY.
func unitOf(name string) (string, error) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "SQL_TSI_"), "S")
	if unitSizes[name] == 0 && unitMonths[name] == 0 {
		return "", fmt.Errorf("no unit %s: use SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER or YEAR", name)
	}
	return name, nil
}

func bindTimestampAdd(args []Node) ([]Node, Type, error) {
	if _, err := unitOf(args[0].(*Const).Value.(string)); err != nil {
		return nil, Type{}, err
	}
	by, err := coerce("TIMESTAMPADD", 1, 'i', args[1])
	if err != nil {
		return nil, Type{}, err
	}
	at, err := coerce("TIMESTAMPADD", 2, 't', args[2])
	if err != nil {
		return nil, Type{}, err
	}
	t := at.Type()
	unit, _ := unitOf(args[0].(*Const).Value.(string))
	if t.Kind == Date && unitSizes[unit] > 0 && unitSizes[unit] < Day {
		t = OfTime(Timestamp, 0)
		at = CastTo(at, t)
	}
	return []Node{args[0], by, at}, t.Nullable(!allNotNull([]Node{by, at})), nil
}

func evalTimestampAdd(n *Call, args []any) (any, error) {
	unit, _ := unitOf(args[0].(string))
	kind := n.Args[2].Type().Kind
	if m := unitMonths[unit]; m > 0 {
		return addInterval(args[2].(int64), kind, m*args[1].(int64), true), nil
	}
	return addInterval(args[2].(int64), kind, unitSizes[unit]*args[1].(int64), false), nil
}

func bindTimestampDiff(args []Node) ([]Node, Type, error) {
	if _, err := unitOf(args[0].(*Const).Value.(string)); err != nil {
		return nil, Type{}, err
	}
	bound := []Node{args[0]}
	for i, a := range args[1:] {
		c, err := coerce("TIMESTAMPDIFF", i+1, 't', a)
		if err != nil {
			return nil, Type{}, err
		}
		bound = append(bound, c)
	}
	return bound, Of(Int).Nullable(!allNotNull(bound[1:])), nil
}

func evalTimestampDiff(n *Call, args []any) (any, error) {
	unit, _ := unitOf(args[0].(string))
	from, to := local(args[1], n.Args[1].Type(), n.Zone), local(args[2], n.Args[2].Type(), n.Zone)
	if size := unitSizes[unit]; size > 0 {
		return wrap((to-from)/size, Int), nil
	}
	return wrap(monthsBetween(from, to)/unitMonths[unit], Int), nil
}

// monthsBetween counts whole months.
func monthsBetween(from, to int64) int64 {
	if to < from {
		return -monthsBetween(to, from)
	}
	fy, fm, fd := civil(floorDiv(from, Day))
	ty, tm, td := civil(floorDiv(to, Day))
	months := int64(ty-fy)*12 + int64(tm-fm)
	if td < fd || td == fd && floorMod(to, Day) < floorMod(from, Day) {
		months--
	}
	return months
}

func bindDateFormat(args []Node) ([]Node, Type, error) {
	t := args[0].Type()
	if t.Kind != String && t.Kind != Date && !t.Instant() {
		return nil, Type{}, fmt.Errorf("DATE_FORMAT wants a timestamp, not %s", t.Nullable(true))
	}
	pattern, err := coerce("DATE_FORMAT", 1, 's', args[1])
	return []Node{args[0], pattern}, Of(String), err
}

func evalDateFormat(n *Call, args []any) (any, error) {
	t := n.Args[0].Type()
	var us int64
	if s, ok := args[0].(string); ok {
		var err error
		if us, _, err = ParseTimestamp(s); err != nil {
			return nil, nil
		}
	} else {
		us = local(args[0], t, n.Zone)
	}
	return FormatPattern(us, args[1].(string))
}

// patternLayouts are the letters of Java's DateTimeFormatter that have a layout in Go.
var patternLayouts = map[string]string{
	"yyyy": "2006", "yy": "06", "MMMM": "January", "MMM": "Jan", "MM": "01", "M": "1", "dd": "02", "d": "2", "HH": "15", "hh": "03", "h": "3",
	"mm": "04", "m": "4", "ss": "05", "s": "5", "a": "PM", "EEEE": "Monday", "EEE": "Mon", "E": "Mon",
}

// FormatPattern writes a wall clock by a pattern of Java's DateTimeFormatter: y M d H h m s S a E, and 'text'.
func FormatPattern(us int64, pattern string) (string, error) {
	t := clock(us)
	var b strings.Builder
	err := eachPatternPart(pattern, func(letters, text string) error {
		switch {
		case letters == "":
			b.WriteString(text)
		case letters[0] == 'S':
			b.WriteString(fmt.Sprintf("%06d000", floorMod(us, Second))[:min(len(letters), 9)])
		case letters == "H":
			b.WriteString(strconv.Itoa(t.Hour()))
		case patternLayouts[letters] != "":
			b.WriteString(t.Format(patternLayouts[letters]))
		default:
			return fmt.Errorf("the date pattern %q has %q, which is not supported", pattern, letters)
		}
		return nil
	})
	return b.String(), err
}

func eachPatternPart(pattern string, fn func(letters, text string) error) error {
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'':
			end := strings.IndexByte(pattern[i+1:], '\'')
			if end < 0 {
				return fmt.Errorf("the date pattern %q has a quote that is not closed", pattern)
			}
			text := pattern[i+1 : i+1+end]
			if text == "" {
				text = "'"
			}
			if err := fn("", text); err != nil {
				return err
			}
			i += end + 2
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			n := i
			for n < len(pattern) && pattern[n] == c {
				n++
			}
			if err := fn(pattern[i:n], ""); err != nil {
				return err
			}
			i = n
		default:
			if err := fn("", string(c)); err != nil {
				return err
			}
			i++
		}
	}
	return nil
}

// parsePattern reads a wall clock by a pattern.
func parsePattern(s, pattern string) (int64, error) {
	var layout strings.Builder
	err := eachPatternPart(pattern, func(letters, text string) error {
		switch {
		case letters == "":
			layout.WriteString(text)
		case letters[0] == 'S':
			l := layout.String()
			if !strings.HasSuffix(l, ".") && !strings.HasSuffix(l, ",") {
				return fmt.Errorf("the date pattern %q has a fraction that stands behind no point", pattern)
			}
			layout.WriteString(strings.Repeat("0", len(letters)))
		case letters == "H":
			layout.WriteString("15")
		case patternLayouts[letters] != "":
			layout.WriteString(patternLayouts[letters])
		default:
			return fmt.Errorf("the date pattern %q has %q, which is not supported", pattern, letters)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	t, err := time.Parse(layout.String(), s)
	if err != nil {
		return 0, fmt.Errorf("%q is not of the form %q", s, pattern)
	}
	return t.UnixMicro(), nil
}

func parseWith(args []any) (int64, error) {
	if len(args) > 1 {
		return parsePattern(args[0].(string), args[1].(string))
	}
	us, _, err := ParseTimestamp(args[0].(string))
	return us, err
}

// evalToTimestamp gives NULL for text that is no timestamp, as Flink does.
func evalToTimestamp(_ *Call, args []any) (any, error) {
	us, err := parseWith(args)
	if err != nil {
		return nil, nil //nolint:nilerr // NULL is the answer
	}
	return Round(us, 3), nil
}

func evalToDate(_ *Call, args []any) (any, error) {
	us, err := parseWith(args)
	if err != nil {
		return nil, nil //nolint:nilerr // NULL is the answer
	}
	return floorDiv(us, Day), nil
}

// evalToTimestampLTZ reads seconds (precision 0) or milliseconds (3, the default).
func evalToTimestampLTZ(n *Call, args []any) (any, error) {
	digits := int64(3)
	if len(args) > 1 {
		digits = args[1].(int64)
	}
	var v float64
	switch x := args[0].(type) {
	case int64:
		if digits == 3 {
			return x * Millisecond, nil
		}
		v = float64(x)
	case float64:
		v = x
	default:
		f, err := castFloat(args[0], n.Args[0].Type(), Of(Double))
		if err != nil {
			return nil, err
		}
		v = f.(float64)
	}
	switch digits {
	case 0:
		return int64(math.Floor(v*1000)) * Millisecond, nil
	case 3:
		return int64(math.Floor(v)) * Millisecond, nil
	}
	return nil, errors.New("the precision must be 0 (seconds) or 3 (milliseconds)")
}

func evalFromUnixtime(n *Call, args []any) (any, error) {
	pattern := "yyyy-MM-dd HH:mm:ss"
	if len(args) > 1 {
		pattern = args[1].(string)
	}
	return FormatPattern(toLocal(args[0].(int64)*Second, n.Zone), pattern)
}

func evalUnixTimestamp(n *Call, args []any) (any, error) {
	us, err := parseWith(args)
	if err != nil {
		return int64(math.MinInt64), nil //nolint:nilerr // what Flink answers
	}
	return floorDiv(toUTC(us, n.Zone), Second), nil
}

func evalConvertTZ(_ *Call, args []any) (any, error) {
	us, _, err := ParseTimestamp(args[0].(string))
	if err != nil {
		return nil, nil //nolint:nilerr // NULL is the answer
	}
	from, err := time.LoadLocation(args[1].(string))
	if err != nil {
		return nil, err
	}
	to, err := time.LoadLocation(args[2].(string))
	if err != nil {
		return nil, err
	}
	return clock(toLocal(toUTC(us, from), to)).Format("2006-01-02 15:04:05"), nil
}

func evalMinusMoments(_ *Call, args []any) (any, error) {
	return args[0].(int64) - args[1].(int64), nil
}
