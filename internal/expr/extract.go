package expr

import (
	"errors"
	"fmt"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

func init() {
	for _, unit := range []string{"YEAR", "QUARTER", "MONTH", "WEEK", "DAYOFYEAR", "DAYOFMONTH", "DAYOFWEEK", "HOUR", "MINUTE", "SECOND"} {
		register((&Function{Name: unit, Min: 1, Max: 1, eval: extractNamed(unit)}).with(func(f *Function) { f.bind = bindNamed(unit) }))
	}
	register(
		&Function{Name: "EXTRACT", Min: 2, Max: 2, bind: bindExtract, eval: evalExtract},
		&Function{Name: "FLOOR TO", Min: 2, Max: 2, bind: bindRound("FLOOR"), eval: evalRound(false)},
		&Function{Name: "CEIL TO", Min: 2, Max: 2, bind: bindRound("CEIL"), eval: evalRound(true)},
	)
}

// bindNamed binds a date or timestamp, or a time if it has the unit.
func bindNamed(unit string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		n := args[0]
		if n.Type().Kind != column.Time {
			c, err := coerce(unit, 0, 't', n)
			return []Node{c}, column.Of(column.BigInt).Nullable(!n.Type().NotNull), err
		}
		return args, column.Of(column.BigInt).Nullable(!n.Type().NotNull), ofClock(unit)
	}
}

// ofClock returns an error for units that a TIME doesn't have.
func ofClock(unit string) error {
	if size := unitSizes[unit]; size == 0 || size >= moment.Day {
		return fmt.Errorf("a TIME has no %s: use HOUR, MINUTE, SECOND or MILLISECOND", unit)
	}
	return nil
}

func extractNamed(unit string) func(n *Call, args []any) (any, error) {
	return func(n *Call, args []any) (any, error) {
		return extract(unit, local(args[0], n.Args[0].Type(), n.Zone))
	}
}

// unitName returns the keyword passed as an argument.
func unitName(function string, n Node) (string, error) {
	if k, ok := n.(*Const); ok && k.T.Kind == column.Symbol {
		return k.Value.(string), nil
	}
	return "", fmt.Errorf("%s expects a unit such as DAY", function)
}

func bindExtract(args []Node) ([]Node, column.Type, error) {
	unit, err := unitName("EXTRACT", args[0])
	if err != nil {
		return nil, column.Type{}, err
	}
	t := args[1].Type()
	switch {
	case t.Interval():
		_, err = extractInterval(unit, 0, t.Kind)
	case t.Kind == column.Time:
		err = ofClock(unit)
	case t.Kind == column.Date && unit == "NANOSECOND":
		err = errors.New("a DATE has no NANOSECOND")
	case t.Temporal():
		_, err = extract(unit, 0)
	default:
		err = fmt.Errorf("EXTRACT expects a date, time, timestamp or interval, got %s", t.Nullable(true))
	}
	return args, column.Of(column.BigInt).Nullable(!t.NotNull), err
}

func evalExtract(n *Call, args []any) (any, error) {
	t := n.Args[1].Type()
	if t.Interval() {
		return extractInterval(args[0].(string), args[1].(int64), t.Kind)
	}
	return extract(args[0].(string), local(args[1], t, n.Zone))
}

// extract uses the wall clock time, even for EPOCH, as Flink does.
func extract(unit string, us int64) (any, error) {
	t := clock(us)
	var v int
	switch unit {
	case "YEAR":
		v = t.Year()
	case "ISOYEAR":
		v, _ = t.ISOWeek()
	case "DECADE":
		v = t.Year() / 10
	case "CENTURY":
		v = (t.Year() + 99) / 100
	case "MILLENNIUM":
		v = (t.Year() + 999) / 1000
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
		return moment.FloorMod(us, moment.Second) / moment.Millisecond, nil
	case "MICROSECOND":
		return moment.FloorMod(us, moment.Second), nil
	case "NANOSECOND":
		return moment.FloorMod(us, moment.Second) * 1000, nil
	case "EPOCH":
		return moment.FloorDiv(us, moment.Second), nil
	default:
		return nil, fmt.Errorf("unit %s can't be extracted: use YEAR, QUARTER, MONTH, WEEK, DAY, DOY, DOW, HOUR, MINUTE, SECOND, MILLISECOND or EPOCH", unit)
	}
	return int64(v), nil
}

func extractInterval(unit string, v int64, kind column.Kind) (any, error) {
	if kind == column.IntervalMonth {
		switch unit {
		case "YEAR":
			return v / 12, nil
		case "MONTH":
			return v % 12, nil
		}
		return nil, errors.New("years and months can be extracted from an INTERVAL YEAR TO MONTH")
	}
	switch unit {
	case "DAY":
		return v / moment.Day, nil
	case "HOUR":
		return v / moment.Hour % 24, nil
	case "MINUTE":
		return v / moment.Minute % 60, nil
	case "SECOND":
		return v / moment.Second % 60, nil
	case "MILLISECOND":
		return v / moment.Millisecond % 1000, nil
	}
	return nil, errors.New("days, hours, minutes, seconds and milliseconds can be extracted from an INTERVAL DAY TO SECOND")
}

func bindRound(name string) func(args []Node) ([]Node, column.Type, error) {
	return func(args []Node) ([]Node, column.Type, error) {
		t := args[0].Type()
		if !t.Temporal() {
			return nil, column.Type{}, fmt.Errorf("%s … TO expects a date, time or timestamp, got %s", name, t.Nullable(true))
		}
		unit, err := unitName(name, args[1])
		if err != nil {
			return nil, column.Type{}, err
		}
		if t.Kind == column.Time {
			return args, t, ofClock(unit)
		}
		_, err = roundMoment(0, unit, false)
		return args, t, err
	}
}

func evalRound(up bool) func(n *Call, args []any) (any, error) {
	return func(n *Call, args []any) (any, error) {
		t := n.Args[0].Type()
		unit, wall := args[1].(string), local(args[0], t, n.Zone)
		us, err := roundMoment(wall, unit, up)
		switch t.Kind {
		case column.Date:
			if up && unit == "DAY" { // as in Flink, which always moves a date to the next day
				us += moment.Day
			}
			return moment.FloorDiv(us, moment.Day), err
		case column.Time:
			return us / moment.Millisecond, err
		case column.TimestampLTZ: // as in Flink, by the argument's offset, even if the offset was different at the start of the day
			return args[0].(int64) + us - wall, err
		}
		return us, err
	}
}

var fixedUnits = map[string]int64{"MILLISECOND": moment.Millisecond, "SECOND": moment.Second, "MINUTE": moment.Minute, "HOUR": moment.Hour, "DAY": moment.Day}

func roundMoment(us int64, unit string, up bool) (int64, error) {
	if size, ok := fixedUnits[unit]; ok {
		down := moment.FloorDiv(us, size) * size
		if up && down != us {
			return down + size, nil
		}
		return down, nil
	}
	year, month, _ := moment.Date(moment.FloorDiv(us, moment.Day))
	years := func(n int) (down, next int64) { // centuries start with year 1
		first := year - int(moment.FloorMod(int64(year-1), int64(n)))
		return moment.Days(first, 1, 1), moment.Days(first+n, 1, 1)
	}
	var down, next int64
	switch unit {
	case "WEEK":
		days := moment.FloorDiv(us, moment.Day)
		sunday := days - moment.FloorMod(days+4, 7)
		down, next = sunday, sunday+7
	case "MONTH":
		down, next = moment.Days(year, month, 1), moment.Days(year, month+1, 1)
	case "QUARTER":
		first := (month-1)/3*3 + 1
		down, next = moment.Days(year, first, 1), moment.Days(year, first+3, 1)
	case "YEAR":
		down, next = years(1)
	case "DECADE":
		first := year - int(moment.FloorMod(int64(year), 10))
		down, next = moment.Days(first, 1, 1), moment.Days(first+10, 1, 1)
	case "CENTURY":
		down, next = years(100)
	case "MILLENNIUM":
		down, next = years(1000)
	default:
		return 0, fmt.Errorf("can't round to %s", unit)
	}
	if up && down != moment.FloorDiv(us, moment.Day) { // as in Flink, which only considers the date
		return next * moment.Day, nil
	}
	return down * moment.Day, nil
}
