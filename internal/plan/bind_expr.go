package plan

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/moment"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// binder binds expressions against the columns of a scope.
type binder struct {
	planner *planner
	scope   *scope
	// special is tried first for each call. It binds functions that are valid only in some clauses,
	// such as aggregates, and returns nil for all others.
	special func(*sql.Call) (expr.Node, error)
	inJSON  bool // the expression is a member of JSON_OBJECT or JSON_ARRAY
}

// plain returns a binder over the same scope that binds no special calls.
func (b *binder) plain() *binder { return &binder{planner: b.planner, scope: b.scope} }

func (b *binder) bind(e sql.Expr) (expr.Node, error) {
	switch e := e.(type) {
	case *sql.Literal:
		return bindLiteral(e)
	case *sql.Interval:
		return bindInterval(e)
	case *sql.ColumnRef:
		return b.scope.resolve(e, b.planner.program.Zone)
	case *sql.Symbol:
		return &expr.Const{Value: e.Name, T: column.Type{Kind: column.Symbol, NotNull: true}}, nil
	case *sql.Unary:
		switch e.Op {
		case "+":
			return b.bind(e.X)
		case "-":
			return b.call(e, "NEGATE", e.X)
		}
		return b.call(e, "NOT", e.X)
	case *sql.Binary:
		if e.Op == "OVERLAPS" {
			return b.overlaps(e)
		}
		return b.call(e, e.Op, e.L, e.R)
	case *sql.Is:
		return b.is(e)
	case *sql.Between:
		return b.between(e)
	case *sql.In:
		if e.Query != nil {
			if list, ok := listOf(e); ok {
				return b.bind(list)
			}
			n, err := b.query(e)
			if err != nil || !e.Not {
				return n, err
			}
			return expr.Bind("NOT", b.planner.program.Zone, n)
		}
		return b.negated(e, e.Not, "IN", append([]sql.Expr{e.X}, e.List...)...)
	case *sql.Like:
		args := []sql.Expr{e.X, e.Pattern}
		if e.Escape != nil {
			args = append(args, e.Escape)
		}
		return b.negated(e, e.Not, map[bool]string{true: "SIMILAR TO", false: "LIKE"}[e.Similar], args...)
	case *sql.Case:
		return b.caseOf(e)
	case *sql.Cast:
		return b.cast(e)
	case *sql.Call:
		return b.function(e)
	case *sql.RowValue:
		return b.call(e, "ROW", e.Items...)
	case *sql.ArrayValue:
		return b.call(e, "ARRAY", e.Items...)
	case *sql.MapValue:
		return b.call(e, "MAP", e.Items...)
	case *sql.Index:
		return b.call(e, "ITEM", e.X, e.Index)
	case *sql.Field:
		x, err := b.bind(e.X)
		if err != nil {
			return nil, err
		}
		n, err := expr.Bind("FIELD", b.planner.program.Zone, x, &expr.Const{Value: e.Name.Name, T: column.Of(column.String)})
		return n, at(e.Name, err)
	case *sql.Subquery:
		return b.query(e)
	case *sql.Star:
		return nil, sql.Errorf(e, "* is not allowed here")
	}
	return nil, sql.Errorf(e, "this expression is not supported")
}

// query returns the value of a query.
func (b *binder) query(e sql.Expr) (expr.Node, error) {
	if n := b.planner.valueOf[e]; n != nil {
		return shifted(n, b.scope.own()), nil
	}
	return nil, sql.Errorf(e, "a query as a value is supported only in SELECT, WHERE, GROUP BY, HAVING and ON").WithHint("join it in FROM")
}

func (b *binder) bindAll(all []sql.Expr) ([]expr.Node, error) {
	bound := make([]expr.Node, len(all))
	for i, e := range all {
		n, err := b.bind(e)
		if err != nil {
			return nil, err
		}
		bound[i] = n
	}
	return bound, nil
}

// call binds a function of package expr with its arguments.
func (b *binder) call(where sql.Node, name string, args ...sql.Expr) (expr.Node, error) {
	bound, err := b.bindAll(args)
	if err != nil {
		return nil, err
	}
	n, err := expr.Bind(name, b.planner.program.Zone, bound...)
	if call, ok := n.(*expr.Call); ok {
		b.planner.differCall(where, call)
		given := make(map[expr.Node]bool, len(bound)) // of a list with 100,000 elements, too
		for _, a := range bound {
			given[a] = true
		}
		for _, a := range call.Args {
			if !given[a] { // converted by Bind
				b.planner.differCall(where, a)
			}
		}
	}
	return n, at(where, err)
}

func (b *binder) negated(where sql.Node, not bool, name string, args ...sql.Expr) (expr.Node, error) {
	n, err := b.call(where, name, args...)
	if err != nil || !not {
		return n, err
	}
	return expr.Bind("NOT", b.planner.program.Zone, n)
}

// condition binds an expression that must be BOOLEAN.
func (b *binder) condition(e sql.Expr, where string) (expr.Node, error) {
	n, err := b.bind(e)
	if err != nil {
		return nil, err
	}
	if t := n.Type(); t.Kind != column.Boolean && t.Kind != column.Null {
		return nil, sql.Errorf(e, "%s must be BOOLEAN, got %s", where, t.Nullable(true))
	}
	return expr.Fold(expr.CastTo(n, column.Of(column.Boolean), b.planner.program.Zone)), nil
}

func (b *binder) is(e *sql.Is) (expr.Node, error) {
	not := map[bool]string{true: "NOT ", false: ""}[e.Not]
	switch e.What {
	case "DISTINCT FROM":
		return b.call(e, "IS "+not+e.What, e.X, e.Y)
	case "UNKNOWN":
		return b.call(e, "IS "+not+"NULL", e.X)
	case "NULL", "TRUE", "FALSE":
		return b.call(e, "IS "+not+e.What, e.X)
	}
	return b.negated(e, e.Not, "IS "+e.What, e.X)
}

// between binds x BETWEEN low AND high as x >= low AND x <= high.
func (b *binder) between(e *sql.Between) (expr.Node, error) {
	inside := func(low, high sql.Expr) (expr.Node, error) {
		l, err := b.call(e, ">=", e.X, low)
		if err != nil {
			return nil, err
		}
		h, err := b.call(e, "<=", e.X, high)
		if err != nil {
			return nil, err
		}
		return expr.Bind("AND", b.planner.program.Zone, l, h)
	}
	n, err := inside(e.Low, e.High)
	if err == nil && e.Symmetric {
		var swapped expr.Node
		if swapped, err = inside(e.High, e.Low); err == nil {
			n, err = expr.Bind("OR", b.planner.program.Zone, n, swapped)
		}
	}
	if err != nil || !e.Not {
		return n, err
	}
	return expr.Bind("NOT", b.planner.program.Zone, n)
}

func (b *binder) caseOf(e *sql.Case) (expr.Node, error) {
	var args []expr.Node
	for _, w := range e.Whens {
		cond := w.Cond
		if e.Operand != nil {
			cond = &sql.Binary{Pos: e.Pos, Op: "=", L: e.Operand, R: w.Cond}
		}
		c, err := b.condition(cond, "WHEN")
		if err != nil {
			return nil, err
		}
		then, err := b.bind(w.Then)
		if err != nil {
			return nil, err
		}
		args = append(args, c, then)
	}
	if e.Else != nil {
		n, err := b.bind(e.Else)
		if err != nil {
			return nil, err
		}
		args = append(args, n)
	}
	n, err := expr.Bind("CASE", b.planner.program.Zone, args...)
	return n, at(e, err)
}

// checkTypeOf refuses time attributes, whose type has a mark in Flink.
func (b *binder) checkTypeOf(e *sql.Call, n expr.Node) error {
	c, ok := n.(*expr.Call).Args[0].(*expr.Col)
	if !ok || c.Index >= len(b.scope.cols) || !b.scope.cols[c.Index].Rowtime && !b.scope.cols[c.Index].Proctime {
		return nil
	}
	return sql.Errorf(e, "TYPEOF of a time attribute is not supported").WithHint("write TYPEOF(CAST(%s AS %s))", sql.Quote(c.Name), c.T.Nullable(true))
}

// overlaps binds (a, b) OVERLAPS (c, d): with the ends of both periods in order, each begins before
// or when the other ends. The second of a pair can be the length of the period.
func (b *binder) overlaps(e *sql.Binary) (expr.Node, error) {
	var ends [2][2]expr.Node
	for side, x := range []sql.Expr{e.L, e.R} {
		row, ok := x.(*sql.RowValue)
		if !ok || len(row.Items) != 2 {
			return nil, sql.Errorf(x, "OVERLAPS compares two periods").WithHint("for example (a, b) OVERLAPS (c, d), or (a, INTERVAL '1' HOUR) OVERLAPS (c, d)")
		}
		bound, err := b.bindAll(row.Items)
		if err != nil {
			return nil, err
		}
		from, to := bound[0], bound[1]
		if !from.Type().Temporal() {
			return nil, sql.Errorf(row.Items[0], "a period of OVERLAPS begins with a date, time or timestamp, got %s", from.Type().Nullable(true))
		}
		if to.Type().Interval() {
			if to, err = expr.Bind("+", b.planner.program.Zone, from, to); err != nil {
				return nil, at(row, err)
			}
		}
		if !to.Type().Temporal() || to.Type().Kind != from.Type().Kind {
			return nil, sql.Errorf(row.Items[1], "a period of OVERLAPS ends with a %s or an interval, got %s", from.Type().Nullable(true), to.Type().Nullable(true))
		}
		inOrder, err := expr.Bind("<=", b.planner.program.Zone, from, to)
		if err != nil {
			return nil, at(row, err)
		}
		for i, pair := range [][2]expr.Node{{from, to}, {to, from}} {
			if ends[side][i], err = expr.Bind("CASE", b.planner.program.Zone, inOrder, pair[0], pair[1]); err != nil {
				return nil, at(row, err)
			}
		}
	}
	first, err := expr.Bind(">=", b.planner.program.Zone, ends[0][1], ends[1][0])
	if err != nil {
		return nil, at(e, err)
	}
	second, err := expr.Bind(">=", b.planner.program.Zone, ends[1][1], ends[0][0])
	if err != nil {
		return nil, at(e, err)
	}
	return expr.Bind("AND", b.planner.program.Zone, first, second)
}

func (b *binder) cast(e *sql.Cast) (expr.Node, error) {
	t, err := bindType(e.Type)
	if err != nil {
		return nil, err
	}
	x, err := b.bind(e.X)
	if err != nil {
		return nil, err
	}
	n, err := expr.Cast(x, t, e.Try, b.planner.program.Zone)
	if n != x {
		b.planner.differCall(e, n)
	} else if c, ok := x.(*expr.Col); ok {
		copied := *c
		copied.Cast = true
		n = &copied
	}
	return n, at(e, err)
}

// roundings maps functions whose second argument can be a unit to their form with a unit.
var roundings = map[string]string{"FLOOR": "FLOOR TO", "CEIL": "CEIL TO", "CEILING": "CEIL TO"}

func (b *binder) function(e *sql.Call) (expr.Node, error) {
	if e.IgnoreNulls && !strings.EqualFold(e.Name, "ARRAY_AGG") {
		return nil, sql.Errorf(e, "IGNORE NULLS is not supported").WithHint("FIRST_VALUE, LAST_VALUE and COLLECT always skip NULL")
	}
	if b.special != nil {
		if n, err := b.special(e); n != nil || err != nil {
			return n, err
		}
	}
	name := strings.ToUpper(e.Name)
	switch {
	case isOver(e):
		return nil, sql.Errorf(e, "%s … OVER is not allowed here", name).
			WithHint("OVER is supported for ROW_NUMBER in the form SELECT … FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) AS n FROM t) WHERE n <= 10")
	case isAggregate(name):
		return nil, sql.Errorf(e, "the aggregate %s is not allowed here", name).WithHint("aggregates belong in SELECT and HAVING, and can't be nested")
	case name == "CURRENT_DATABASE":
		return nil, sql.Errorf(e, "CURRENT_DATABASE is not supported").WithHint("a pipeline has no catalog or database; write a literal")
	case name == "JSON" && !b.inJSON:
		return nil, sql.Errorf(e, "JSON(…) is supported only as a value of JSON_OBJECT and JSON_ARRAY").WithHint("for example JSON_OBJECT('a' VALUE JSON(text)); to read a value, use JSON_QUERY or JSON_VALUE")
	case e.Star, e.Distinct, e.Filter != nil:
		return nil, sql.Errorf(e, "%s is not an aggregate, so *, DISTINCT and FILTER are not allowed", name)
	}
	name, err := volatileName(e, name)
	if err != nil {
		return nil, err
	}
	if !expr.Callable(name) {
		return nil, sql.Errorf(e, "unknown function %s", e.Name).WithHint("%s", suggest.DidYouMean(name, append(expr.Names(), aggregateNames()...)))
	}
	if len(e.Args) == 2 && roundings[name] != "" {
		if _, unit := e.Args[1].(*sql.Symbol); unit {
			name = roundings[name]
		}
	}
	if strings.HasPrefix(name, "REGEXP") {
		b.planner.differ(e, "regular-expressions", "patterns use RE2: lookarounds and backreferences are rejected, as are invalid patterns, which match nothing in Flink")
	}
	inJSON := b.inJSON
	b.inJSON = name == "JSON_OBJECT" || name == "JSON_ARRAY"
	n, err := b.call(e, name, e.Args...)
	b.inJSON = inJSON
	if err == nil && name == "TYPEOF" {
		if err := b.checkTypeOf(e, n); err != nil {
			return nil, err
		}
	}
	if name == "JSON_OBJECT" || name == "JSON_ARRAY" {
		if err == nil && e.JSON != nil {
			expr.SetOnNull(n, e.JSON.OnNull)
		}
		return n, err
	}
	if call, ok := n.(*expr.Call); ok && err == nil && call.F.Volatile {
		b.volatile(e, call)
	}
	if err != nil || !strings.HasPrefix(name, "JSON_") {
		return n, err
	}
	return b.json(e, n)
}

// json binds the clauses of the JSON functions, with Flink's defaults.
func (b *binder) json(e *sql.Call, n expr.Node) (expr.Node, error) {
	clauses := e.JSON
	if clauses == nil {
		clauses = &sql.JSONClauses{}
	}
	t := n.Type()
	if clauses.Returning != nil {
		returning, err := bindType(clauses.Returning)
		if err != nil {
			return nil, err
		}
		t = returning.Nullable(true)
		if known := []column.Kind{column.String, column.Boolean, column.Int, column.Double}; strings.EqualFold(e.Name, "JSON_VALUE") && !slices.Contains(known, t.Kind) {
			return nil, sql.Errorf(clauses.Returning, "JSON_VALUE can't return %s", t).WithHint("it can return STRING, BOOLEAN, INT or DOUBLE; write CAST(JSON_VALUE(…) AS %s)", t)
		}
		if t.Kind != column.String && t.Kind != column.Array {
			b.planner.differ(clauses.Returning, "json-returning", "a value that is not a %s yields NULL or the ON ERROR value; Flink's job fails", t)
		}
	}
	otherwise := "NULL"
	if strings.ToUpper(e.Name) == "JSON_EXISTS" {
		otherwise = "FALSE"
	}
	o := expr.JSONOptions{Wrapper: orElse(clauses.Wrapper, "WITHOUT"), OnEmpty: orElse(clauses.OnEmpty, otherwise), OnError: orElse(clauses.OnError, otherwise)}
	for _, d := range []struct {
		e    sql.Expr
		into *any
	}{{clauses.Empty, &o.Empty}, {clauses.Error, &o.Error}} {
		if d.e == nil {
			continue
		}
		v, err := b.bind(d.e)
		if err != nil {
			return nil, err
		}
		k, ok := expr.Fold(expr.CastTo(v, t, b.planner.program.Zone)).(*expr.Const)
		if !ok {
			return nil, sql.Errorf(d.e, "DEFAULT must be a constant")
		}
		*d.into = k.Value
	}
	expr.SetJSON(n, t, o)
	return n, nil
}

func notNull(k column.Kind) column.Type { return column.Type{Kind: k, NotNull: true} }

func bindLiteral(l *sql.Literal) (expr.Node, error) {
	switch l.Kind {
	case sql.NullLiteral:
		return &expr.Const{}, nil
	case sql.BoolLiteral:
		return &expr.Const{Value: l.Text == "TRUE", T: notNull(column.Boolean)}, nil
	case sql.StringLiteral:
		return &expr.Const{Value: l.Text, T: notNull(column.String)}, nil
	case sql.BytesLiteral:
		raw, err := hex.DecodeString(l.Text)
		return &expr.Const{Value: string(raw), T: notNull(column.Bytes)}, at(l, err)
	case sql.NumberLiteral:
		return bindNumber(l)
	case sql.DateLiteral:
		days, err := moment.ParseDate(l.Text)
		return &expr.Const{Value: days, T: notNull(column.Date)}, at(l, err)
	case sql.TimeLiteral:
		ms, err := moment.ParseTime(l.Text)
		return &expr.Const{Value: ms, T: notNull(column.Time)}, at(l, err)
	}
	us, zoned, err := moment.ParseTimestamp(l.Text)
	t := notNull(column.Timestamp)
	if err == nil && (zoned || strings.Contains(l.Text, "T")) {
		return nil, sql.Errorf(l, "'%s' is not a TIMESTAMP literal", l.Text).WithHint("write a space instead of T, and no time zone: TIMESTAMP '2026-01-31 12:00:00'")
	}
	if _, fraction, ok := strings.Cut(l.Text, "."); ok {
		if len(strings.TrimRight(fraction, "0")) > maxPrecision {
			return nil, sql.Errorf(l, "a TIMESTAMP has at most %d fractional digits, but '%s' has %d", maxPrecision, l.Text, len(fraction)).
				WithHint("omit the digits after the microseconds")
		}
		t.Precision = min(len(fraction), maxPrecision)
	}
	return &expr.Const{Value: us, T: t}, at(l, err)
}

// bindNumber types a numeric literal as Calcite does: INT if it fits, else BIGINT; DECIMAL with a
// decimal point; DOUBLE with an exponent.
func bindNumber(l *sql.Literal) (expr.Node, error) {
	text := strings.ToLower(l.Text)
	if strings.Contains(text, "e") {
		f, err := strconv.ParseFloat(text, 64)
		return &expr.Const{Value: f, T: notNull(column.Double)}, at(l, err)
	}
	whole, fraction, point := strings.Cut(text, ".")
	if !point {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			kind := column.BigInt
			if i <= math.MaxInt32 {
				kind = column.Int
			}
			return &expr.Const{Value: i, T: notNull(kind)}, nil
		}
	}
	digits := strings.TrimLeft(whole, "0") + fraction
	unscaled, ok := new(big.Int).SetString("0"+digits, 10)
	if !ok {
		return nil, sql.Errorf(l, "%s is not a number", l.Text)
	}
	if !unscaled.IsInt64() {
		return nil, sql.Errorf(l, "%s has too many digits for a SQL number", l.Text).WithHint("CAST('%s' AS DECIMAL(%d, %d))", l.Text, len(digits), len(fraction))
	}
	return &expr.Const{Value: unscaled, T: column.Type{Kind: column.Decimal, Precision: max(1, len(digits), len(fraction)), Scale: len(fraction), NotNull: true}}, nil
}

// intervalMonths and intervalMicros are the lengths of units.
var (
	intervalMonths = map[string]int64{"YEAR": 12, "MONTH": 1}
	intervalMicros = map[string]int64{"DAY": 86_400_000_000, "HOUR": 3_600_000_000, "MINUTE": 60_000_000, "SECOND": 1_000_000}
)

// compound holds the patterns of intervals with several units, with one group per unit.
var compound = map[string]*regexp.Regexp{
	"YEAR TO MONTH": regexp.MustCompile(`^(\d+)-(\d+)$`), "DAY TO HOUR": regexp.MustCompile(`^(\d+) (\d+)$`),
	"DAY TO MINUTE": regexp.MustCompile(`^(\d+) (\d+):(\d+)$`), "DAY TO SECOND": regexp.MustCompile(`^(\d+) (\d+):(\d+):(\d+(?:\.\d+)?)$`),
	"HOUR TO MINUTE": regexp.MustCompile(`^(\d+):(\d+)$`), "HOUR TO SECOND": regexp.MustCompile(`^(\d+):(\d+):(\d+(?:\.\d+)?)$`),
	"MINUTE TO SECOND": regexp.MustCompile(`^(\d+):(\d+(?:\.\d+)?)$`),
}

var unitOrder = []string{"YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"}

func bindInterval(e *sql.Interval) (expr.Node, error) {
	text, negative := strings.CutPrefix(strings.TrimSpace(e.Value), "-")
	negative = negative != e.Negative
	bad := func() error {
		return sql.Errorf(e, "'%s' is not an interval of %s", e.Value, strings.TrimSuffix(e.From+" TO "+e.To, " TO ")).WithHint("for example INTERVAL '5' MINUTE, INTERVAL '1 12:00:00' DAY TO SECOND")
	}
	first := slices.Index(unitOrder, e.From)
	if first < 0 { // Flink 2.2 counts a week as an hour, and a quarter as a month
		return nil, sql.Errorf(e, "intervals of %s are not supported", e.From).WithHint("write INTERVAL '7' DAY, or INTERVAL '3' MONTH")
	}
	parts := []string{text}
	if e.To != "" {
		pattern := compound[e.From+" TO "+e.To]
		if pattern == nil {
			return nil, bad()
		}
		m := pattern.FindStringSubmatch(text)
		if m == nil {
			return nil, bad()
		}
		parts = m[1:]
	}
	total, kind := int64(0), column.IntervalDay
	for i, part := range parts {
		unit := e.From
		if i > 0 {
			unit = unitOrder[first+i]
		}
		n, err := intervalPart(part, unit)
		if err != nil || i > 0 && n >= intervalLimits[unit] {
			return nil, bad()
		}
		if digits := len(strings.TrimLeft(strings.Split(part, ".")[0], "0")); i == 0 && digits > precisionOf(e) {
			return nil, sql.Errorf(e, "INTERVAL '%s' %s has %d digits, but Flink accepts %d", e.Value, e.From, digits, precisionOf(e)).
				WithHint("specify the precision: INTERVAL '%s' %s(%d)", e.Value, e.From, digits)
		}
		if total += n; !column.Fits(total, column.IntervalDay) {
			return nil, sql.Errorf(e, "INTERVAL '%s' %s is longer than 290,000 years", e.Value, e.From)
		}
	}
	if e.Precision > 3 && intervalMonths[e.From] == 0 {
		return nil, sql.Errorf(e, "%s(%d) is not supported by Flink: the maximum precision is 3", e.From, e.Precision).WithHint("use a larger unit")
	}
	if intervalMonths[e.From] > 0 {
		if kind = column.IntervalMonth; !column.Fits(total, kind) {
			return nil, sql.Errorf(e, "INTERVAL '%s' %s is longer than 290,000 years", e.Value, e.From)
		}
	}
	if negative {
		total = -total
	}
	return &expr.Const{Value: total, T: notNull(kind)}, nil
}

// intervalLimits maps a unit to the length of the next larger one, in months or microseconds.
var intervalLimits = map[string]int64{"MONTH": 12, "HOUR": 24 * 3_600_000_000, "MINUTE": 60 * 60_000_000, "SECOND": 60 * 1_000_000}

// precisionOf returns the maximum number of digits of an interval's first number.
func precisionOf(e *sql.Interval) int {
	if e.Precision < 0 {
		return 2
	}
	return e.Precision
}

// intervalPart converts a number of units to microseconds or months. Only seconds can have a
// fraction.
func intervalPart(text, unit string) (int64, error) {
	size := intervalMonths[unit] + intervalMicros[unit]
	whole, fraction, point := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64/size || n < 0 || point && unit != "SECOND" {
		return 0, fmt.Errorf("invalid number of %s: %s", unit, text)
	}
	if !point {
		return n * size, nil
	}
	micros, err := strconv.ParseInt((fraction + "000000")[:6], 10, 64)
	return n*size + micros, err
}
