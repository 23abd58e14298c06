package plan

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// Agg is one aggregate function.
type Agg struct {
	Name     string // COUNT, SUM, …
	Arg      int    // column of the input; -1 for COUNT(*)
	Filter   int    // column of the input that must be true; -1 without FILTER
	Distinct bool
	Type     column.Type
	Back     int64 // LAG only: offset in rows
	Default  any   // LAG only: the value if there is no such row

	// Of the functions that collect values, see collect.go.
	Others      []int // columns of the second argument: value of JSON_OBJECTAGG, frequency of PERCENTILE
	Separator   string
	Percentages []float64
	Nulls       bool // NULL is a value, too
	Absent      bool // JSON_OBJECTAGG: a NULL is left out
	Retracts    bool // rows can be retracted
}

func (a Agg) String(in *Relation) string {
	arg := "*"
	if a.Arg >= 0 {
		arg = in.Cols[a.Arg].Name
	}
	if a.Distinct {
		arg = "DISTINCT " + arg
	}
	if a.Name == lag {
		arg += fmt.Sprintf(", %d", a.Back)
		if a.Default != nil {
			arg += fmt.Sprintf(", %v", a.Default)
		}
	}
	s := a.Name + "(" + arg + a.details(in) + ")"
	if a.Filter >= 0 {
		s += " FILTER (WHERE " + in.Cols[a.Filter].Name + ")"
	}
	return s
}

func listAggs(in *Relation, aggs []Agg) string {
	all := make([]string, len(aggs))
	for i, a := range aggs {
		all[i] = a.String(in)
	}
	return strings.Join(all, ", ")
}

func needAggs(aggs []Agg, need func(int)) {
	for _, a := range aggs {
		if a.Arg >= 0 {
			need(a.Arg)
		}
		if a.Filter >= 0 {
			need(a.Filter)
		}
		needColumns(a.Others, need)
	}
}

// aggregates maps each supported function to one that returns the result type for an argument type.
var aggregates = map[string]func(arg column.Type) (column.Type, error){
	"COUNT": func(column.Type) (column.Type, error) { return column.Type{Kind: column.BigInt, NotNull: true}, nil },
	"SUM": numeric(func(t column.Type) column.Type {
		if t.Kind == column.Decimal {
			return column.OfDecimal(column.MaxPrecision, t.Scale)
		}
		return t
	}),
	"AVG": numeric(average), "STDDEV_POP": numeric(average), "STDDEV_SAMP": numeric(average), "VAR_POP": numeric(average), "VAR_SAMP": numeric(average),
	"MIN": ordered, "MAX": ordered,
	"FIRST_VALUE": anyType, "LAST_VALUE": anyType,
	"ARRAY_AGG": anyType, "COLLECT": anyType, "JSON_ARRAYAGG": jsonType, "JSON_OBJECTAGG": jsonType, "LISTAGG": anyType, "PERCENTILE": anyType,
}

// aggregateAliases maps aliases to functions.
var aggregateAliases = map[string]string{"STDDEV": "STDDEV_SAMP", "VARIANCE": "VAR_SAMP"}

// otherAggregates are Flink's aggregate functions that Weir does not support.
var otherAggregates = []string{
	"APPROX_COUNT_DISTINCT", "CORR", "COVAR_POP", "COVAR_SAMP", "CUME_DIST", "DENSE_RANK", "GROUPING", "GROUP_ID", "GROUPING_ID",
	"LAG", "LEAD", "NTH_VALUE", "NTILE", "PERCENT_RANK", "RANK", "REGR_COUNT", "ROW_NUMBER",
}

func isAggregate(name string) bool {
	return aggregates[name] != nil || aggregateAliases[name] != "" || slices.Contains(otherAggregates, name)
}

func aggregateNames() []string {
	var all []string
	for name := range aggregates {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// average returns the type of an average: the argument's type, but a decimal has a scale of at
// least six.
func average(t column.Type) column.Type {
	if t.Kind == column.Decimal {
		return column.OfDecimal(column.MaxPrecision, max(6, t.Scale))
	}
	return t
}

func numeric(result func(column.Type) column.Type) func(column.Type) (column.Type, error) {
	return func(t column.Type) (column.Type, error) {
		if !t.Numeric() {
			return t, fmt.Errorf("requires numbers, got %s", t.Nullable(true))
		}
		return result(t), nil
	}
}

func ordered(t column.Type) (column.Type, error) {
	if t.Nested() || t.Kind == column.Bytes {
		return t, fmt.Errorf("requires ordered values, got %s", t.Nullable(true))
	}
	return t, nil
}

func anyType(t column.Type) (column.Type, error) { return t, nil }

func jsonType(column.Type) (column.Type, error) { return notNull(column.String), nil }

// bindAggregate binds the argument and the FILTER of an aggregate function; columnOf returns the
// column of an expression. The type is the one for a non-NULL argument: the caller sets
// nullability.
func bindAggregate(c *sql.Call, name string, b *binder, columnOf func(expr.Node) int) (Agg, error) {
	result := aggregates[name]
	a := Agg{Name: name, Arg: -1, Filter: -1, Distinct: c.Distinct && name != "MIN" && name != "MAX"}
	switch {
	case a.Collects():
		a.Type, _ = result(column.Type{})
		if err := bindCollecting(c, &a, b, columnOf); err != nil {
			return a, err
		}
	case c.Star && name == "COUNT" && !c.Distinct:
		a.Type, _ = result(column.Type{})
	case name == "COUNT" && len(c.Args) > 1:
		return a, sql.Errorf(c, "COUNT of several columns is not supported").
			WithHint("Flink 2.2 doesn't support it either; count texts of them, which are NULL if one of them is: COUNT(DISTINCT CAST(a AS STRING) || '/' || CAST(b AS STRING))")
	case len(c.Args) != 1 || c.Star || len(c.OrderBy) > 0:
		return a, sql.Errorf(c, "%s takes one argument", name)
	default:
		arg, err := b.bind(c.Args[0])
		if err != nil {
			return a, err
		}
		if a.Type, err = result(arg.Type()); err != nil {
			return a, sql.Errorf(c.Args[0], "%s %s", name, err)
		}
		if a.Distinct {
			if err := checkKey(c.Args[0], name+" of DISTINCT values of", arg.Type()); err != nil {
				return a, err
			}
		}
		if a.Distinct && arg.Type().Kind == column.Row {
			return a, sql.Errorf(c.Args[0], "%s(DISTINCT …) of a ROW is not supported", name).
				WithHint("Flink 2.2 doesn't support it either; use a text of its fields: CAST(a AS STRING) || '/' || CAST(b AS STRING)")
		}
		if k, constant := expr.Fold(arg).(*expr.Const); !constant || k.Value == nil || name != "COUNT" || c.Distinct {
			a.Arg = columnOf(expr.Fold(arg)) // COUNT(1) is COUNT(*)
		}
	}
	if c.Filter != nil {
		cond, err := b.condition(c.Filter, "FILTER")
		if err != nil {
			return a, err
		}
		a.Filter = columnOf(cond)
	}
	return a, nil
}

// walk calls fn for each call in an expression, except those in subqueries.
func walk(e sql.Expr, fn func(*sql.Call)) {
	if c, ok := e.(*sql.Call); ok {
		fn(c)
	}
	for _, x := range operands(e) {
		walk(x, fn)
	}
}

// operands returns the expressions that an expression is made of, some of which may be nil.
func operands(e sql.Expr) []sql.Expr {
	switch e := e.(type) {
	case *sql.Call:
		return e.Args
	case *sql.Unary:
		return []sql.Expr{e.X}
	case *sql.Binary:
		return []sql.Expr{e.L, e.R}
	case *sql.Is:
		return []sql.Expr{e.X, e.Y}
	case *sql.Between:
		return []sql.Expr{e.X, e.Low, e.High}
	case *sql.In:
		return append([]sql.Expr{e.X}, e.List...)
	case *sql.Like:
		return []sql.Expr{e.X, e.Pattern, e.Escape}
	case *sql.Case:
		all := []sql.Expr{e.Operand, e.Else}
		for _, w := range e.Whens {
			all = append(all, w.Cond, w.Then)
		}
		return all
	case *sql.Cast:
		return []sql.Expr{e.X}
	case *sql.RowValue:
		return e.Items
	case *sql.ArrayValue:
		return e.Items
	case *sql.MapValue:
		return e.Items
	case *sql.Index:
		return []sql.Expr{e.X, e.Index}
	case *sql.Field:
		return []sql.Expr{e.X}
	}
	return nil
}
