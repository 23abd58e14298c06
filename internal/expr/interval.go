package expr

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

func init() {
	register(
		&Function{Name: "TIMESTAMPADD", Min: 3, Max: 3, bind: bindTimestampAdd, eval: evalTimestampAdd},
		&Function{Name: "TIMESTAMPDIFF", Min: 3, Max: 3, bind: bindTimestampDiff, eval: evalTimestampDiff},
		simple("MINUS MOMENTS", "TTu", column.Of(column.IntervalDay), evalMinusMoments),
	)
}

// compileMoment adds intervals to dates, times and timestamps, or subtracts them.
func compileMoment(n *Call, args []*Compiled) (*Compiled, error) {
	x, y := args[0], args[1]
	if x.Type.Interval() {
		x, y = y, x
	}
	sign := int64(1)
	if n.F.Name == "-" {
		sign = -1
	}
	kind, months := x.Type.Kind, y.Type.Kind == column.IntervalMonth
	return &Compiled{Type: n.T, I: func(b *column.Batch, row int) (int64, bool) {
		v, ok := x.I(b, row)
		if !ok {
			return 0, false
		}
		by, ok := y.I(b, row)
		if !ok {
			return 0, false
		}
		r, ok := addInterval(v, kind, sign*by, months)
		if !ok {
			b.Fail("%w", errTimeRange)
		}
		return r, ok
	}}, nil
}

// Errors for times and intervals out of range, where Flink overflows.
var (
	errTimeRange     = fmt.Errorf("the time is more than %d years away", column.MaxYear)
	errIntervalRange = fmt.Errorf("the interval is longer than %d years", column.MaxYear)
)

// compileInterval adds, subtracts and multiplies intervals.
func compileInterval(op string, x, y intFunc, k column.Kind) intFunc {
	compute := map[string]func(a, b int64) (int64, bool){"+": addExact, "-": subtractExact, "*": multiplyExact}[op]
	return func(b *column.Batch, row int) (int64, bool) {
		l, ok := x(b, row)
		if !ok {
			return 0, false
		}
		r, ok := y(b, row)
		if !ok {
			return 0, false
		}
		v, exact := compute(l, r)
		if !exact || !column.Fits(v, k) {
			b.Fail("%w", errIntervalRange)
			return 0, false
		}
		return v, true
	}
}

// addInterval adds an interval; ok is false if the result is out of range.
func addInterval(v int64, kind column.Kind, by int64, months bool) (int64, bool) {
	switch {
	case months && !column.Fits(by, column.IntervalMonth):
		return 0, false
	case months && kind == column.Date:
		return inDays(addMonths(v, by))
	case months && kind != column.Time:
		days := moment.FloorDiv(v, moment.Day)
		moved, ok := inDays(addMonths(days, by))
		return moved*moment.Day + v - days*moment.Day, ok
	case kind == column.Date:
		return inDays(v + by/moment.Day)
	case kind == column.Time && months:
		return v, true
	case kind == column.Time:
		return moment.FloorMod(v+by/moment.Millisecond, moment.Day/moment.Millisecond), true
	}
	sum, ok := addExact(v, by)
	return sum, ok && column.Fits(sum, kind)
}

func inDays(days int64) (int64, bool) { return days, column.Fits(days, column.Date) }

// addExact returns false if the sum overflows.
func addExact(a, b int64) (int64, bool) {
	sum := a + b
	return sum, (sum > a) == (b > 0)
}

// subtractExact returns false if the difference overflows.
func subtractExact(a, b int64) (int64, bool) {
	difference := a - b
	return difference, (difference < a) == (b > 0)
}

// multiplyExact returns false if the product overflows.
func multiplyExact(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	product := a * b
	return product, product/b == a && (a != -1 || b != math.MinInt64)
}

// addMonths keeps the day of the month, or uses the last day if the month is shorter.
func addMonths(days, months int64) int64 {
	year, month, day := moment.Date(days)
	total := int64(year)*12 + int64(month-1) + months
	y, m := int(moment.FloorDiv(total, 12)), int(moment.FloorMod(total, 12))+1
	last := time.Date(y, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return moment.Days(y, m, min(day, last))
}

var unitSizes = map[string]int64{
	"MICROSECOND": 1, "MILLISECOND": moment.Millisecond, "SECOND": moment.Second, "MINUTE": moment.Minute, "HOUR": moment.Hour, "DAY": moment.Day, "WEEK": 7 * moment.Day,
}

var unitMonths = map[string]int64{"MONTH": 1, "QUARTER": 3, "YEAR": 12}

// unitOf normalizes names such as SQL_TSI_DAY and DAYS to DAY.
func unitOf(name string) (string, error) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "SQL_TSI_"), "S")
	if unitSizes[name] == 0 && unitMonths[name] == 0 {
		return "", fmt.Errorf("unknown unit %s: use SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER or YEAR", name)
	}
	return name, nil
}

func unitArgument(function string, n Node) (string, error) {
	name, err := unitName(function, n)
	if err != nil {
		return "", err
	}
	return unitOf(name)
}

func bindTimestampAdd(args []Node) ([]Node, column.Type, error) {
	unit, err := unitArgument("TIMESTAMPADD", args[0])
	if err != nil {
		return nil, column.Type{}, err
	}
	by, err := coerce("TIMESTAMPADD", 1, 'i', args[1])
	if err != nil {
		return nil, column.Type{}, err
	}
	if t := args[2].Type(); t.Kind == column.Time { // days and longer units leave it as it is
		return []Node{args[0], by, args[2]}, t.Nullable(!allNotNull([]Node{by, args[2]})), nil
	}
	at, err := coerce("TIMESTAMPADD", 2, 't', args[2])
	if err != nil {
		return nil, column.Type{}, err
	}
	t := at.Type()
	digits := map[string]int{"MILLISECOND": 3, "MICROSECOND": 6}[unit]
	if t.Kind == column.Date && unitSizes[unit] > 0 && unitSizes[unit] < moment.Day {
		at = castTo(at, column.OfTime(column.Timestamp, 6))
		t = at.Type()
	}
	if t.Instant() {
		t.Precision = max(t.Precision, digits)
	}
	return []Node{args[0], by, at}, t.Nullable(!allNotNull([]Node{by, at})), nil
}

func evalTimestampAdd(n *Call, args []any) (any, error) {
	unit, _ := unitOf(args[0].(string))
	kind := n.Args[2].Type().Kind
	size, months := unitMonths[unit], true
	if size == 0 {
		size, months = unitSizes[unit], false
	}
	by, ok := multiplyExact(args[1].(int64), size)
	if !ok {
		return nil, errTimeRange
	}
	at, ok := addInterval(args[2].(int64), kind, by, months)
	if !ok {
		return nil, errTimeRange
	}
	return at, nil
}

func bindTimestampDiff(args []Node) ([]Node, column.Type, error) {
	if _, err := unitArgument("TIMESTAMPDIFF", args[0]); err != nil {
		return nil, column.Type{}, err
	}
	bound := []Node{args[0]}
	for i, a := range args[1:] {
		c, err := coerce("TIMESTAMPDIFF", i+1, 't', a)
		if err != nil {
			return nil, column.Type{}, err
		}
		bound = append(bound, c)
	}
	if a, b := bound[1].Type().Kind, bound[2].Type().Kind; (a == column.TimestampLTZ) != (b == column.TimestampLTZ) {
		return nil, column.Type{}, errors.New("TIMESTAMPDIFF expects two TIMESTAMP_LTZ arguments or none: write a CAST")
	}
	return bound, column.Of(column.Int).Nullable(!allNotNull(bound[1:])), nil
}

func evalTimestampDiff(n *Call, args []any) (any, error) {
	unit, _ := unitOf(args[0].(string))
	a, b := n.Args[1].Type(), n.Args[2].Type()
	from, to := local(args[1], a, n.Zone), local(args[2], b, n.Zone)
	if size := unitSizes[unit]; size > 0 {
		if a.Kind == column.TimestampLTZ && b.Kind == column.TimestampLTZ { // elapsed time, independent of the wall clock
			from, to = args[1].(int64), args[2].(int64)
		}
		passed, ok := subtractExact(to, from)
		if !ok {
			return nil, errIntervalRange
		}
		return column.Wrap(passed/size, column.Int), nil // as in Flink, whose INT overflows
	}
	return column.Wrap(monthsBetween(from, to)/unitMonths[unit], column.Int), nil
}

// monthsBetween returns the number of whole months that can be added to from without passing to.
func monthsBetween(from, to int64) int64 {
	if to < from {
		return -monthsBetween(to, from)
	}
	fromDay, toDay := moment.FloorDiv(from, moment.Day), moment.FloorDiv(to, moment.Day)
	fy, fm, _ := moment.Date(fromDay)
	ty, tm, _ := moment.Date(toDay)
	months := int64(ty-fy)*12 + int64(tm-fm)
	reached := addMonths(fromDay, months)
	if reached > toDay || reached == toDay && moment.FloorMod(to, moment.Day) < moment.FloorMod(from, moment.Day) {
		months--
	}
	return months
}

func evalMinusMoments(_ *Call, args []any) (any, error) {
	passed, ok := subtractExact(args[0].(int64), args[1].(int64))
	if !ok || !column.Fits(passed, column.IntervalDay) {
		return nil, errIntervalRange
	}
	return passed, nil
}
