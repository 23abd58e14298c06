package plan

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// collecting lists the aggregate functions whose results grow with their rows.
var collecting = []string{"ARRAY_AGG", "COLLECT", "JSON_ARRAYAGG", "JSON_OBJECTAGG", "LISTAGG", "PERCENTILE"}

// maxCollectors is how many functions a query with one of these can have: the state keys of their
// values have seven bits for the function.
const maxCollectors = 128

// Collects reports whether the result of a function grows with its rows.
func (a Agg) Collects() bool { return slices.Contains(collecting, a.Name) }

// KeepsValues reports whether a function keeps each of its values: those that collect them, and MIN
// and MAX over updating rows, whose next value must be known when the current one is retracted.
func (a Agg) KeepsValues() bool {
	return a.Collects() || a.Retracts && (a.Name == "MIN" || a.Name == "MAX")
}

// NeverNull reports whether a function has a value where no row has one: 0, or an empty MULTISET or
// JSON document.
func (a Agg) NeverNull() bool {
	return a.Name == "COUNT" || a.Name == "COLLECT" || strings.HasPrefix(a.Name, "JSON_")
}

// bindCollecting binds the arguments of a collecting function.
func bindCollecting(c *sql.Call, a *Agg, b *binder, columnOf func(expr.Node) int) error {
	if c.Star || len(c.OrderBy) > 0 {
		hint := "values are in the order in which the rows arrive; Flink 2.2 doesn't sort them either"
		if a.Name == "COLLECT" {
			hint = "write COLLECT(x): a MULTISET has no order"
		}
		return sql.Errorf(c, "%s(*) and %s WITHIN GROUP are not supported", a.Name, a.Name).WithHint("%s", hint)
	}
	if strings.HasPrefix(a.Name, "JSON_") && (c.Distinct || c.Filter != nil) {
		return sql.Errorf(c, "%s with DISTINCT or FILTER is not supported", a.Name).
			WithHint("Flink doesn't accept it either; write %s(… CASE WHEN … THEN … END ABSENT ON NULL), or filter in a subquery", a.Name)
	}
	args, err := b.bindAll(c.Args)
	if err != nil {
		return err
	}
	for i := range args {
		args[i] = expr.Fold(args[i])
	}
	if c.Distinct && len(args) > 0 {
		if err := checkKey(c.Args[0], a.Name+" of DISTINCT values of", args[0].Type()); err != nil {
			return err
		}
	}
	clauses := c.JSON
	if clauses == nil {
		clauses = &sql.JSONClauses{}
	}
	bind := map[string]func(*sql.Call, *Agg, *binder, []expr.Node) ([]expr.Node, error){
		"COLLECT": bindCollect, "LISTAGG": bindListagg, "PERCENTILE": bindPercentile,
		"ARRAY_AGG": func(c *sql.Call, a *Agg, _ *binder, args []expr.Node) ([]expr.Node, error) {
			if len(args) != 1 {
				return nil, sql.Errorf(c, "ARRAY_AGG takes one argument")
			}
			element := args[0].Type()
			if element.Kind == column.Null {
				return nil, sql.Errorf(c.Args[0], "ARRAY_AGG can't take NULL, which has no type").WithHint("write CAST(NULL AS …)")
			}
			a.Nulls, a.Type = !c.IgnoreNulls, column.Type{Kind: column.Array, Elem: &element}
			return args, nil
		},
		"JSON_ARRAYAGG": func(c *sql.Call, a *Agg, b *binder, args []expr.Node) ([]expr.Node, error) {
			if len(args) != 1 {
				return nil, sql.Errorf(c, "JSON_ARRAYAGG takes one argument")
			}
			a.Nulls = clauses.OnNull == "NULL"
			text, err := b.jsonText(c.Args[0], args[0])
			return []expr.Node{text}, err
		},
		"JSON_OBJECTAGG": func(c *sql.Call, a *Agg, b *binder, args []expr.Node) ([]expr.Node, error) {
			if t := args[0].Type(); t.Kind != column.String {
				return nil, sql.Errorf(c.Args[0], "the key of JSON_OBJECTAGG must be a string, got %s", t.Nullable(true)).WithHint("write CAST(… AS STRING)")
			}
			text, err := b.jsonText(c.Args[1], args[1])
			return []expr.Node{args[0], text}, err
		},
	}[a.Name]
	if args, err = bind(c, a, b, args); err != nil {
		return err
	}
	if a.Name == "JSON_OBJECTAGG" && clauses.OnNull == "ABSENT" {
		a.Absent = true
	}
	a.Arg = columnOf(args[0])
	for _, other := range args[1:] {
		a.Others = append(a.Others, columnOf(other))
	}
	return nil
}

// jsonText returns a value of a JSON aggregate as JSON.
func (b *binder) jsonText(where sql.Node, n expr.Node) (expr.Node, error) {
	text, err := expr.Bind("JSON_STRING", b.planner.program.Zone, n)
	return text, at(where, err)
}

func bindCollect(c *sql.Call, a *Agg, b *binder, args []expr.Node) ([]expr.Node, error) {
	if len(args) != 1 {
		return nil, sql.Errorf(c, "COLLECT takes one argument")
	}
	t := args[0].Type()
	if t.Kind == column.Null {
		return nil, sql.Errorf(c.Args[0], "COLLECT can't take NULL, which has no type").WithHint("write CAST(NULL AS …)")
	}
	if t.Has(column.Type.Pairs) {
		return nil, sql.Errorf(c.Args[0], "COLLECT of %s is not supported: whether two such values are equal depends on the order of their entries", t.Nullable(true)).WithHint("collect one of its entries, such as m['key']")
	}
	if t.Has(func(t column.Type) bool { return t.Kind == column.Bytes }) {
		b.planner.differ(c, "multiset-elements", "COLLECT of BYTES counts equal values; Flink takes each value for another one")
	}
	a.Type = column.OfMultiset(t).Nullable(false)
	return args, nil
}

func bindListagg(c *sql.Call, a *Agg, _ *binder, args []expr.Node) ([]expr.Node, error) {
	if len(args) < 1 || len(args) > 2 {
		return nil, sql.Errorf(c, "LISTAGG takes a string and a separator")
	}
	if t := args[0].Type(); t.Kind != column.String {
		return nil, sql.Errorf(c.Args[0], "LISTAGG requires strings, got %s", t.Nullable(true)).WithHint("write LISTAGG(CAST(… AS STRING))")
	}
	a.Separator, a.Type = ",", column.Of(column.String)
	if len(args) == 2 {
		k, constant := args[1].(*expr.Const)
		text, ok := "", false
		if constant {
			text, ok = k.Value.(string)
		}
		if !ok || k.T.Kind != column.String {
			return nil, sql.Errorf(c.Args[1], "the separator of LISTAGG must be a literal such as ', '")
		}
		a.Separator = text
	}
	return args[:1], nil
}

// bindPercentile binds PERCENTILE(value, percentage or array of percentages [, frequency]).
func bindPercentile(c *sql.Call, a *Agg, b *binder, args []expr.Node) ([]expr.Node, error) {
	if len(args) < 2 || len(args) > 3 {
		return nil, sql.Errorf(c, "PERCENTILE takes a value, a percentage between 0 and 1, and a frequency")
	}
	if t := args[0].Type(); !t.Numeric() {
		return nil, sql.Errorf(c.Args[0], "PERCENTILE requires numbers, got %s", t.Nullable(true))
	}
	double := column.Of(column.Double)
	bad := func() error {
		return sql.Errorf(c.Args[1], "the percentage of PERCENTILE must be a constant between 0 and 1").WithHint("for example PERCENTILE(x, 0.95), or PERCENTILE(x, ARRAY[0.5, 0.95, 0.99])")
	}
	to := double
	if args[1].Type().Kind == column.Array {
		to = column.Type{Kind: column.Array, Elem: &double}
	}
	a.Type = to
	if t := args[1].Type(); !t.Numeric() && (t.Kind != column.Array || !t.Elem.Numeric()) {
		return nil, bad()
	}
	k, constant := expr.Fold(expr.CastTo(args[1], to, b.planner.program.Zone)).(*expr.Const)
	if !constant {
		return nil, bad()
	}
	values, several := k.Value.([]any)
	if !several {
		values = []any{k.Value}
	}
	for _, v := range values {
		p, ok := v.(float64)
		if !ok || !(p >= 0 && p <= 1) {
			return nil, bad()
		}
		a.Percentages = append(a.Percentages, p)
	}
	result := []expr.Node{expr.CastTo(args[0], double, b.planner.program.Zone)}
	if len(args) == 3 {
		if t := args[2].Type(); !t.Integer() {
			return nil, sql.Errorf(c.Args[2], "the frequency of PERCENTILE must be an integer, got %s", t.Nullable(true))
		}
		if c.Distinct {
			return nil, sql.Errorf(c, "PERCENTILE of DISTINCT values with a frequency is not supported").WithHint("leave out the frequency")
		}
		result = append(result, expr.CastTo(args[2], column.Of(column.BigInt), b.planner.program.Zone))
	}
	return result, nil
}

// Second returns the column of a function's second argument; -1 without one.
func (a Agg) Second() int {
	if len(a.Others) == 0 {
		return -1
	}
	return a.Others[0]
}

// details returns what a function's text has behind its argument.
func (a Agg) details(in *Relation) string {
	var s string
	for _, c := range a.Others {
		s += ", " + in.Cols[c].Name
	}
	switch {
	case a.Name == "LISTAGG":
		s += ", " + sql.QuoteString(a.Separator)
	case a.Name == "PERCENTILE":
		s += ", " + strings.Trim(fmt.Sprint(a.Percentages), "[]")
	case a.Name == "ARRAY_AGG" && !a.Nulls:
		s += " IGNORE NULLS"
	case a.Name == "JSON_ARRAYAGG" && a.Nulls:
		s += " NULL ON NULL"
	case a.Absent:
		s += " ABSENT ON NULL"
	}
	return s
}

// same reports whether two functions have the same value in each group.
func (a Agg) same(b Agg) bool {
	return a.Name == b.Name && a.Arg == b.Arg && a.Filter == b.Filter && a.Distinct == b.Distinct && a.Nulls == b.Nulls && a.Absent == b.Absent &&
		a.Separator == b.Separator && slices.Equal(a.Percentages, b.Percentages) && slices.Equal(a.Others, b.Others)
}

// checkCollecting refuses collecting functions where their result would depend on more than the
// rows of the group.
func checkCollecting(where sql.Node, in *Relation, a *Aggregate) error {
	if slices.ContainsFunc(a.Aggs, Agg.KeepsValues) && len(a.Aggs) > maxCollectors {
		return sql.Errorf(where, "a query with %s, or with MIN or MAX over updating rows, can have at most %d aggregate functions", strings.Join(collecting, ", "), maxCollectors).WithHint("write several queries")
	}
	for _, g := range a.Aggs {
		if g.Name == "JSON_ARRAYAGG" && a.Window != nil && a.Window.Kind != Tumble {
			return sql.Errorf(where, "JSON_ARRAYAGG in %s windows is not supported", a.Window.Kind).WithHint("Flink 2.2 doesn't support it either; use ARRAY_AGG, or TUMBLE")
		}
		if g.Name != "JSON_OBJECTAGG" {
			continue
		}
		if in.Updating && (in.Key == nil || !subset(in.Key, append(slices.Clone(a.Keys), g.Arg))) {
			return sql.Errorf(where, "JSON_OBJECTAGG over updating rows requires keys that are unique in each group").
				WithHint("use the key of the grouped rows as its key, such as JSON_OBJECTAGG(k VALUE n) FROM (SELECT k, COUNT(*) AS n FROM t GROUP BY k)")
		}
		if a.Window != nil && a.Window.Kind == Session {
			return sql.Errorf(where, "JSON_OBJECTAGG in SESSION windows is not supported").WithHint("use TUMBLE, or ARRAY_AGG(ROW(key, value))")
		}
	}
	return nil
}
