package expr

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

func init() {
	register(
		&Function{Name: "DATE_FORMAT", Min: 2, Max: 2, bind: bindDateFormat, compile: compileDateFormat},
		maybe("TO_TIMESTAMP", "ss?", column.OfTime(column.Timestamp, 3), evalToTimestamp),
		maybe("TO_TIMESTAMP_LTZ", "xx?x?", column.OfTime(column.TimestampLTZ, 3), evalToTimestampLTZ).with(func(f *Function) { f.bind, f.prepare = bindToTimestampLTZ, prepareZones(2) }),
		maybe("TO_DATE", "ss?", column.Of(column.Date), evalToDate),
		simple("FROM_UNIXTIME", "is?", column.Of(column.String), evalFromUnixtime),
		simple("UNIX_TIMESTAMP", "ss?", column.Of(column.BigInt), evalUnixTimestamp),
		maybe("CONVERT_TZ", "sss", column.Of(column.String), evalConvertTZ).with(func(f *Function) { f.prepare = prepareZones(1) }),
	)
}

// part is a run of one letter of a date pattern, or literal text.
type part struct{ letters, text string }

// patternParts parses a pattern of Java's DateTimeFormatter.
func patternParts(pattern string) ([]part, error) {
	var parts []part
	text := func(s string) {
		if n := len(parts); n > 0 && parts[n-1].letters == "" {
			parts[n-1].text += s
			return
		}
		parts = append(parts, part{text: s})
	}
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'':
			quoted, n, ok := quotedText(pattern[i:])
			if !ok {
				return nil, fmt.Errorf("the date pattern %q has an unterminated quote", pattern)
			}
			text(quoted)
			i += n
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			n := i
			for n < len(pattern) && pattern[n] == c {
				n++
			}
			if !supportedLetters(pattern[i:n]) {
				return nil, fmt.Errorf("the date pattern %q has %q, which is not supported", pattern, pattern[i:n])
			}
			parts = append(parts, part{letters: pattern[i:n]})
			i = n
		default:
			text(pattern[i : i+1])
			i++
		}
	}
	return parts, nil
}

// quotedText parses 'text', in which two quotes stand for one, and returns its length.
func quotedText(s string) (text string, n int, ok bool) {
	if strings.HasPrefix(s, "''") {
		return "'", 2, true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if !strings.HasPrefix(s[i+1:], "'") {
			return b.String(), i + 1, true
		}
		b.WriteByte('\'')
		i++
	}
	return "", 0, false
}

// supportedLetters reports whether a pattern may contain this letter, and this many times in a row.
func supportedLetters(letters string) bool {
	limits := map[byte]int{'y': 4, 'u': 4, 'M': 4, 'L': 4, 'd': 2, 'D': 3, 'H': 2, 'h': 2, 'K': 2, 'k': 2, 'm': 2, 's': 2, 'S': 9, 'a': 1, 'E': 4, 'X': 3, 'x': 3, 'Z': 3}
	return len(letters) <= limits[letters[0]]
}

// FormatPattern formats a wall clock time by a pattern of Java's DateTimeFormatter. It supports y u
// M L d D H h K k m s S a E and 'text'.
func FormatPattern(us int64, pattern string) (string, error) {
	parts, err := patternParts(pattern)
	if err != nil {
		return "", err
	}
	return formatParts(us, pattern, parts)
}

func formatParts(us int64, pattern string, parts []part) (string, error) {
	t := clock(us)
	var b strings.Builder
	for _, p := range parts {
		if p.letters == "" {
			b.WriteString(p.text)
			continue
		}
		s, ok := formatLetters(t, p.letters)
		if !ok {
			return "", fmt.Errorf("the date pattern %q has %q, but the value has no time zone", pattern, p.letters)
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// dateFormatter formats wall clock times by one pattern. Rows that follow each other often have the
// same text, so that it remembers the last one. It is not safe for concurrent use.
type dateFormatter struct {
	pattern string
	parts   []part
	err     error
	unit    int64 // the text is the same for all times of the same unit, in microseconds
	last    int64 // the unit that text belongs to
	text    string
}

func newDateFormatter(pattern string) *dateFormatter {
	f := &dateFormatter{pattern: pattern, unit: moment.Day}
	if f.parts, f.err = patternParts(pattern); f.err != nil {
		return f
	}
	for _, p := range f.parts {
		for _, letter := range p.letters {
			switch letter {
			case 'S':
				f.unit = min(f.unit, 1)
			case 's':
				f.unit = min(f.unit, moment.Second)
			case 'm':
				f.unit = min(f.unit, moment.Minute)
			case 'H', 'h', 'K', 'k', 'a':
				f.unit = min(f.unit, moment.Hour)
			}
		}
	}
	return f
}

func (f *dateFormatter) format(us int64) (string, error) {
	if f.err != nil {
		return "", f.err
	}
	if unit := moment.FloorDiv(us, f.unit); f.text == "" || unit != f.last {
		text, err := formatParts(us, f.pattern, f.parts)
		if err != nil {
			return "", err
		}
		f.last, f.text = unit, text
	}
	return f.text, nil
}

func formatLetters(t time.Time, letters string) (string, bool) {
	n := len(letters)
	v := 0
	switch letters[0] {
	case 'S':
		return fmt.Sprintf("%09d", t.Nanosecond())[:n], true
	case 'a':
		return t.Format("PM"), true
	case 'E':
		return t.Format(map[bool]string{true: "Monday", false: "Mon"}[n == 4]), true
	case 'y', 'u':
		if v = t.Year(); n == 2 {
			v %= 100
		}
	case 'M', 'L':
		if n > 2 {
			return t.Format(map[bool]string{true: "January", false: "Jan"}[n == 4]), true
		}
		v = int(t.Month())
	case 'd':
		v = t.Day()
	case 'D':
		v = t.YearDay()
	case 'H':
		v = t.Hour()
	case 'h':
		v = (t.Hour()+11)%12 + 1
	case 'K':
		v = t.Hour() % 12
	case 'k':
		v = (t.Hour()+23)%24 + 1
	case 'm':
		v = t.Minute()
	case 's':
		v = t.Second()
	default:
		return "", false
	}
	return fmt.Sprintf("%0*d", n, v), true
}

// fields holds the values parsed by a pattern. The default is 1970-01-01 00:00:00.
type fields struct {
	year, month, day, hour, minute, second int64
	half                                   int64 // AM 0, PM 1, unknown -1
	micros                                 int64
	offset                                 int64 // microseconds east of UTC
	zoned                                  bool
}

// parsePattern parses a wall clock time by a pattern. zoned reports that an offset was parsed too,
// and that the result is in UTC. If loosely is set, numbers may have fewer digits than letters and
// trailing text is ignored, as in Java's SimpleDateFormat.
func parsePattern(s, pattern string, loosely bool) (us int64, zoned bool, err error) {
	parts, err := patternParts(pattern)
	if err != nil {
		return 0, false, err
	}
	bad := fmt.Errorf("%q is not of the form %q", s, pattern)
	f, rest := fields{year: 1970, month: 1, day: 1, half: -1}, s
	for i, p := range parts {
		ok := false
		if p.letters == "" {
			rest, ok = strings.CutPrefix(rest, p.text)
		} else {
			adjacent := i+1 < len(parts) && parts[i+1].letters != ""
			rest, ok = f.read(rest, p.letters, adjacent, loosely)
		}
		if !ok {
			return 0, false, bad
		}
	}
	if loosely && rest == s { // nothing was parsed
		return 0, false, bad
	}
	us, ok := f.clock(loosely)
	if !ok || rest != "" && !loosely {
		return 0, false, bad
	}
	return us - f.offset, f.zoned, nil
}

var (
	monthNames = []string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}
	dayNames   = []string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
)

// read parses one run of letters at the start of s and returns the rest.
func (f *fields) read(s, letters string, adjacent, loosely bool) (rest string, ok bool) {
	n := len(letters)
	switch letters[0] {
	case 'a':
		f.half, rest = readName(s, []string{"AM", "PM"}, 2)
		return rest, f.half >= 0
	case 'E':
		day, rest := readName(s, dayNames, map[bool]int{true: 9, false: 3}[n == 4])
		return rest, day >= 0
	case 'M', 'L':
		if n > 2 {
			month, rest := readName(s, monthNames, map[bool]int{true: 9, false: 3}[n == 4])
			f.month = month + 1
			return rest, month >= 0
		}
	case 'X', 'x', 'Z':
		f.zoned = true
		f.offset, rest, ok = moment.ParseOffset(s)
		return rest, ok
	}
	least, most := n, n
	if n == 1 && !adjacent {
		most = 9
	}
	if loosely && !adjacent && letters[0] != 'S' {
		least = 1
	}
	digits := 0
	for digits < len(s) && digits < most && s[digits] >= '0' && s[digits] <= '9' {
		digits++
	}
	if digits < least {
		return "", false
	}
	v, err := strconv.ParseInt(s[:digits], 10, 64)
	if err != nil {
		return "", false
	}
	f.set(letters, s[:digits], v)
	return s[digits:], true
}

func (f *fields) set(letters, digits string, v int64) {
	switch letters[0] {
	case 'y', 'u':
		if f.year = v; len(letters) == 2 {
			f.year += 2000
		}
	case 'M', 'L':
		f.month = v
	case 'd':
		f.day = v
	case 'D':
		f.month, f.day = 1, v
	case 'H':
		f.hour = v
	case 'h', 'K', 'k':
		f.hour = v % 12
		if letters[0] == 'k' {
			f.hour = v % 24
		}
	case 'm':
		f.minute = v
	case 's':
		f.second = v
	case 'S':
		f.micros, _ = strconv.ParseInt((digits + "00000")[:6], 10, 64)
	}
}

// readName finds the name whose first letters s starts with, and returns its index or -1.
func readName(s string, names []string, letters int) (int64, string) {
	i := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(s, name[:min(letters, len(name))]) })
	if i < 0 {
		return -1, ""
	}
	return int64(i), s[min(letters, len(names[i])):]
}

// clock combines the fields. If loosely is set, values that are too large for their field are
// carried over, as in java.text.SimpleDateFormat.
func (f *fields) clock(loosely bool) (us int64, ok bool) {
	if f.half >= 0 {
		f.hour = f.hour%12 + 12*f.half
	}
	if loosely {
		const most = 1e10 // maximum of each field, so that the sum of seconds fits
		if f.year <= 0 || f.year > column.MaxYear || max(f.month, f.day, f.hour, f.minute, f.second) > most {
			return 0, false
		}
		seconds := moment.Days(int(f.year), int(f.month), int(f.day))*(moment.Day/moment.Second) + f.hour*(moment.Hour/moment.Second) + f.minute*(moment.Minute/moment.Second) + f.second
		if !column.Fits(seconds/(moment.Day/moment.Second), column.Date) {
			return 0, false
		}
		return seconds*moment.Second + f.micros, true
	}
	days := moment.Days(int(f.year), int(f.month), int(f.day))
	year, month, day := moment.Date(days)
	real := int64(year) == f.year && (int64(month) == f.month && int64(day) == f.day || f.month == 1 && f.day > 31)
	if !real || f.year < 0 || f.year > 9999 || f.hour > 23 || f.minute > 59 || f.second > 59 {
		return 0, false
	}
	return days*moment.Day + f.hour*moment.Hour + f.minute*moment.Minute + f.second*moment.Second + f.micros, true
}

func bindDateFormat(args []Node) ([]Node, column.Type, error) {
	t := args[0].Type()
	if t.Kind != column.String && !t.Instant() {
		return nil, column.Type{}, fmt.Errorf("DATE_FORMAT expects a timestamp or its text, got %s", t.Nullable(true))
	}
	pattern, err := coerce("DATE_FORMAT", 1, 's', args[1])
	return []Node{args[0], pattern}, column.Of(column.String), err
}

// plainPattern is the format expected by functions that accept a timestamp as a string. A time is
// required, and trailing text is ignored.
const plainPattern = "yyyy-MM-dd HH:mm:ss"

func compileDateFormat(n *Call, args []*Compiled) (*Compiled, error) {
	from, pattern := args[0], args[1]
	var f *dateFormatter
	t := n.Args[0].Type()
	return &Compiled{Type: n.T, S: func(b *column.Batch, row int) (string, bool) {
		var us int64
		switch {
		case from.S != nil:
			s, ok := from.S(b, row)
			if !ok {
				return "", false
			}
			var err error
			if us, _, err = parsePattern(s, plainPattern, true); err != nil {
				return "", false
			}
		default:
			v, ok := from.I(b, row)
			if !ok {
				return "", false
			}
			if us = v; t.Kind == column.TimestampLTZ {
				us = toLocal(v, n.Zone)
			}
		}
		p, ok := pattern.S(b, row)
		if !ok {
			return "", false
		}
		if f == nil || f.pattern != p {
			f = newDateFormatter(p)
		}
		text, err := f.format(us)
		if err != nil {
			b.Fail("%s: %w", n.F.Name, err)
			return "", false
		}
		return text, true
	}}, nil
}

// parseWith parses args[0] by the pattern args[1], if there is one.
func parseWith(args []any, loosely bool) (us int64, zoned bool, err error) {
	if len(args) > 1 {
		return parsePattern(args[0].(string), args[1].(string), loosely)
	}
	return parseSQL(args[0].(string))
}

// parseSQL parses a timestamp in SQL syntax: without T and without an offset.
func parseSQL(s string) (us int64, zoned bool, err error) {
	us, zoned, err = moment.ParseLenientTimestamp(s)
	if err == nil && (zoned || strings.Contains(s, "T")) {
		err = moment.InvalidTimestampError(s)
	}
	return us, false, err
}

// parseJDBC parses the format of java.sql.Timestamp and Date, to which TO_TIMESTAMP falls back if
// the text doesn't match the pattern. A day beyond the end of its month overflows into the next
// month.
func parseJDBC(s string) (us int64, err error) {
	s = strings.TrimSpace(s)
	var year, month, day, hour, minute, second int
	date, clock, timed := strings.Cut(s, " ")
	if n, err := fmt.Sscanf(date+"$", "%4d-%2d-%2d$", &year, &month, &day); err != nil || n != 3 || year < 1 || month < 1 || month > 12 || day < 1 || day > 31 {
		return 0, moment.InvalidTimestampError(s)
	}
	whole, digits, _ := strings.Cut(clock, ".")
	if n, err := fmt.Sscanf(whole+"$", "%d:%d:%d$", &hour, &minute, &second); timed && (err != nil || n != 3) {
		return 0, moment.InvalidTimestampError(s)
	}
	us = time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC).UnixMicro()
	if digits == "" {
		return us, nil
	}
	micros, err := strconv.ParseUint((digits + "00000")[:6], 10, 32)
	return us + int64(micros), err //nolint:gosec // six digits
}

// evalToTimestamp returns NULL for text that is not a timestamp, as Flink does.
func evalToTimestamp(_ *Call, args []any) (any, error) {
	us, _, err := parseOrJDBC(args)
	if err != nil {
		return nil, nil //nolint:nilerr // the result is NULL
	}
	return moment.Truncate(us, 3), nil
}

func evalToDate(_ *Call, args []any) (any, error) {
	if len(args) == 1 {
		if days, err := castDate(args[0].(string)); err == nil {
			return days, nil
		}
		return nil, nil
	}
	us, _, err := parseWith(args, true)
	if err != nil {
		return nil, nil //nolint:nilerr // the result is NULL
	}
	return moment.FloorDiv(us, moment.Day), nil
}

// bindToTimestampLTZ binds a number and an optional precision, or text with an optional pattern and
// time zone.
func bindToTimestampLTZ(args []Node) ([]Node, column.Type, error) {
	letters := "ni"
	if args[0].Type().Kind == column.String {
		letters = "sss"
	}
	if len(args) > len(letters) {
		return nil, column.Type{}, errors.New("TO_TIMESTAMP_LTZ of a number takes 1 to 2 arguments")
	}
	bound := make([]Node, len(args))
	for i, a := range args {
		c, err := coerce("TO_TIMESTAMP_LTZ", i, letters[i], a)
		if err != nil {
			return nil, column.Type{}, err
		}
		bound[i] = c
	}
	return bound, column.OfTime(column.TimestampLTZ, 3), nil
}

func evalToTimestampLTZ(n *Call, args []any) (any, error) {
	if _, text := args[0].(string); text {
		return textToLTZ(args)
	}
	digits := int64(3)
	if len(args) > 1 {
		digits = args[1].(int64)
	}
	if digits != 0 && digits != 3 {
		return nil, errors.New("the precision must be 0 (seconds) or 3 (milliseconds)")
	}
	unit := int64(1000) // milliseconds per unit of the argument
	if digits == 3 {
		unit = 1
	}
	if v, ok := args[0].(int64); ok {
		if v > lastMilli/unit || v < firstMilli/unit {
			return nil, nil
		}
		return v * unit * moment.Millisecond, nil
	}
	t := n.Args[0].Type()
	f, err := castFloat(args[0], t, column.Of(column.Double))
	if err != nil {
		return nil, err
	}
	ms := math.Trunc(f.(float64) * float64(unit))
	if t.Kind == column.Decimal { // whole units, as in Flink
		ms = math.Trunc(f.(float64)) * float64(unit)
	}
	if !(ms >= firstMilli && ms <= lastMilli) {
		return nil, nil
	}
	return int64(ms) * moment.Millisecond, nil
}

// First and last millisecond of the years 1 to 9999, outside of which TO_TIMESTAMP_LTZ returns
// NULL.
const (
	firstMilli = -62135596800000
	lastMilli  = 253402300799999
)

// textToLTZ parses text like TO_TIMESTAMP. Without a pattern, invalid text is an error, as in
// Flink.
func textToLTZ(args []any) (any, error) {
	zone := time.UTC
	if len(args) > 2 {
		var err error
		if zone, err = ParseZone(args[2].(string)); err != nil {
			return nil, nil //nolint:nilerr // the result is NULL
		}
	}
	us, zoned, err := parseOrJDBC(args[:min(2, len(args))])
	switch {
	case err != nil && len(args) == 1:
		return nil, err
	case err != nil:
		return nil, nil
	case !zoned:
		us = toUTC(us, zone)
	}
	return moment.Truncate(us, 3), nil
}

// parseOrJDBC parses text by a pattern, falling back to parseJDBC if it doesn't match.
func parseOrJDBC(args []any) (us int64, zoned bool, err error) {
	us, zoned, err = parseWith(args, false)
	if err != nil && len(args) > 1 {
		us, err = parseJDBC(args[0].(string))
		return us, false, err
	}
	return us, zoned, err
}

func evalFromUnixtime(n *Call, args []any) (any, error) {
	pattern := plainPattern
	if len(args) > 1 {
		pattern = args[1].(string)
	}
	us, ok := multiplyExact(args[0].(int64), moment.Second)
	if !ok {
		return nil, errTimeRange
	}
	return FormatPattern(toLocal(us, n.Zone), pattern)
}

func evalUnixTimestamp(n *Call, args []any) (any, error) {
	if len(args) == 1 {
		args = append(args, plainPattern)
	}
	us, zoned, err := parseWith(args, true)
	if err != nil {
		return int64(math.MinInt64), nil //nolint:nilerr // as in Flink
	}
	if !zoned {
		us = toLastUTC(us, n.Zone)
	}
	return moment.FloorDiv(us, moment.Second), nil
}

func evalConvertTZ(_ *Call, args []any) (any, error) {
	us, _, err := parsePattern(args[0].(string), plainPattern, true)
	if err != nil {
		return nil, nil //nolint:nilerr // the result is NULL
	}
	from, err := ParseZone(args[1].(string))
	if err != nil {
		return nil, err
	}
	to, err := ParseZone(args[2].(string))
	if err != nil {
		return nil, err
	}
	return clock(toLocal(toUTC(us, from), to)).Format("2006-01-02 15:04:05"), nil
}

// prepareZones validates constant time zones among the arguments, starting at index from.
func prepareZones(from int) func(n *Call) error {
	return func(n *Call) error {
		for _, a := range n.Args[min(from, len(n.Args)):] {
			if k, ok := Fold(a).(*Const); ok && k.Value != nil {
				if _, err := ParseZone(k.Value.(string)); err != nil {
					return err
				}
			}
		}
		return nil
	}
}
