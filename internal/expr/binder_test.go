package expr

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
	"weir.example/weir/internal/sql"
)

// binder turns parsed SQL into nodes, so that scripts can be written as SQL. cols are the only
// columns.
type binder struct {
	zone *time.Location
	cols []column.Field
}

func (b *binder) parse(text string) (Node, error) {
	e, err := sql.ParseExpr(text)
	if err != nil {
		return nil, err
	}
	return b.bind(e)
}

func (b *binder) call(name string, args ...sql.Expr) (Node, error) {
	bound := make([]Node, len(args))
	for i, a := range args {
		n, err := b.bind(a)
		if err != nil {
			return nil, err
		}
		bound[i] = n
	}
	return Bind(name, b.zone, bound...)
}

func (b *binder) not(not bool, n Node, err error) (Node, error) {
	if err != nil || !not {
		return n, err
	}
	return Bind("NOT", b.zone, n)
}

func (b *binder) bind(e sql.Expr) (Node, error) {
	switch e := e.(type) {
	case *sql.Literal:
		return literal(e)
	case *sql.Interval:
		return interval(e)
	case *sql.Symbol:
		return &Const{e.Name, column.Type{Kind: column.Symbol, NotNull: true}}, nil
	case *sql.ColumnRef:
		return b.column(e)
	case *sql.Unary:
		switch e.Op {
		case "-":
			return b.call("NEGATE", e.X)
		case "+":
			return b.bind(e.X)
		}
		return b.call("NOT", e.X)
	case *sql.Binary:
		return b.call(e.Op, e.L, e.R)
	case *sql.Is:
		return b.is(e)
	case *sql.Between:
		n, err := b.between(e)
		return b.not(e.Not, n, err)
	case *sql.In:
		n, err := b.call("IN", append([]sql.Expr{e.X}, e.List...)...)
		return b.not(e.Not, n, err)
	case *sql.Like:
		args := []sql.Expr{e.X, e.Pattern}
		if e.Escape != nil {
			args = append(args, e.Escape)
		}
		name := "LIKE"
		if e.Similar {
			name = "SIMILAR TO"
		}
		n, err := b.call(name, args...)
		return b.not(e.Not, n, err)
	case *sql.Case:
		return b.caseOf(e)
	case *sql.Cast:
		x, err := b.bind(e.X)
		if err != nil {
			return nil, err
		}
		return Cast(x, typeOf(e.Type), e.Try, b.zone)
	case *sql.Call:
		return b.function(e)
	case *sql.RowValue:
		return b.call("ROW", e.Items...)
	case *sql.ArrayValue:
		return b.call("ARRAY", e.Items...)
	case *sql.MapValue:
		return b.call("MAP", e.Items...)
	case *sql.Index:
		return b.call("ITEM", e.X, e.Index)
	case *sql.Field:
		return b.field(e.X, e.Name.Name)
	}
	return nil, fmt.Errorf("no expression: %T", e)
}

func (b *binder) field(x sql.Expr, name string) (Node, error) {
	n, err := b.bind(x)
	if err != nil {
		return nil, err
	}
	return Bind("FIELD", b.zone, n, &Const{name, column.Of(column.String)})
}

func (b *binder) column(e *sql.ColumnRef) (Node, error) {
	for i, c := range b.cols {
		if c.Name == e.Parts[0].Name {
			return &Col{Index: i, Name: c.Name, T: c.Type}, nil
		}
	}
	return nil, fmt.Errorf("no column %s", e.Parts[0].Name)
}

func (b *binder) is(e *sql.Is) (Node, error) {
	not := map[bool]string{true: "NOT "}[e.Not]
	switch e.What {
	case "DISTINCT FROM":
		return b.call("IS "+not+"DISTINCT FROM", e.X, e.Y)
	case "UNKNOWN":
		return b.call("IS "+not+"NULL", e.X)
	case "NULL", "TRUE", "FALSE":
		return b.call("IS "+not+e.What, e.X)
	}
	n, err := b.call("IS "+e.What, e.X)
	return b.not(e.Not, n, err)
}

func (b *binder) between(e *sql.Between) (Node, error) {
	inside := func(low, high sql.Expr) (Node, error) {
		l, err := b.call(">=", e.X, low)
		if err != nil {
			return nil, err
		}
		h, err := b.call("<=", e.X, high)
		if err != nil {
			return nil, err
		}
		return Bind("AND", b.zone, l, h)
	}
	n, err := inside(e.Low, e.High)
	if err != nil || !e.Symmetric {
		return n, err
	}
	swapped, err := inside(e.High, e.Low)
	if err != nil {
		return nil, err
	}
	return Bind("OR", b.zone, n, swapped)
}

func (b *binder) caseOf(e *sql.Case) (Node, error) {
	var args []sql.Expr
	for _, w := range e.Whens {
		if e.Operand != nil {
			w.Cond = &sql.Binary{Op: "=", L: e.Operand, R: w.Cond}
		}
		args = append(args, w.Cond, w.Then)
	}
	if e.Else != nil {
		args = append(args, e.Else)
	}
	return b.call("CASE", args...)
}

func (b *binder) function(e *sql.Call) (Node, error) {
	name := strings.ToUpper(e.Name)
	if len(e.Args) == 2 {
		if _, unit := e.Args[1].(*sql.Symbol); unit {
			name = map[string]string{"FLOOR": "FLOOR TO", "CEIL": "CEIL TO", "CEILING": "CEIL TO"}[name]
		}
	}
	n, err := b.call(name, e.Args...)
	if err == nil && e.JSON != nil {
		if c := n.(*Call); name == "JSON_OBJECT" || name == "JSON_ARRAY" {
			SetOnNull(c, e.JSON.OnNull)
		}
	}
	if err != nil || name != "JSON_VALUE" && name != "JSON_QUERY" && name != "JSON_EXISTS" {
		return n, err
	}
	clauses := e.JSON
	if clauses == nil {
		clauses = &sql.JSONClauses{}
	}
	t, o := n.Type(), JSONOptions{Wrapper: clauses.Wrapper, OnEmpty: clauses.OnEmpty, OnError: clauses.OnError}
	if clauses.Returning != nil {
		t = typeOf(clauses.Returning).Nullable(true)
	}
	for _, d := range []struct {
		e    sql.Expr
		into *any
	}{{clauses.Empty, &o.Empty}, {clauses.Error, &o.Error}} {
		if d.e != nil {
			v, err := b.bind(d.e)
			if err != nil {
				return nil, err
			}
			*d.into = Fold(castTo(v, t)).(*Const).Value
		}
	}
	SetJSON(n, t, o)
	return n, nil
}

func literal(l *sql.Literal) (Node, error) {
	given := func(v any, k column.Kind, err error) (Node, error) {
		return &Const{v, column.Type{Kind: k, NotNull: true}}, err
	}
	switch l.Kind {
	case sql.NullLiteral:
		return &Const{}, nil
	case sql.BoolLiteral:
		return given(l.Text == "TRUE", column.Boolean, nil)
	case sql.StringLiteral:
		return given(l.Text, column.String, nil)
	case sql.BytesLiteral:
		raw, err := hex.DecodeString(l.Text)
		return given(string(raw), column.Bytes, err)
	case sql.NumberLiteral:
		return number(l.Text)
	case sql.DateLiteral:
		v, err := moment.ParseDate(l.Text)
		return given(v, column.Date, err)
	case sql.TimeLiteral:
		v, err := moment.ParseTime(l.Text)
		return given(v, column.Time, err)
	}
	us, _, err := moment.ParseTimestamp(l.Text)
	_, fraction, _ := strings.Cut(l.Text, ".")
	return &Const{us, column.Type{Kind: column.Timestamp, NotNull: true, Precision: min(6, len(fraction))}}, err
}

func number(text string) (Node, error) {
	if strings.ContainsAny(text, "eE") {
		f, err := strconv.ParseFloat(text, 64)
		return &Const{f, column.Type{Kind: column.Double, NotNull: true}}, err
	}
	whole, fraction, point := strings.Cut(text, ".")
	if i, err := strconv.ParseInt(text, 10, 64); err == nil && !point {
		k := column.BigInt
		if i <= math.MaxInt32 {
			k = column.Int
		}
		return &Const{i, column.Type{Kind: k, NotNull: true}}, nil
	}
	digits := strings.TrimLeft(whole, "0") + fraction
	v, _ := new(big.Int).SetString("0"+digits, 10)
	return &Const{v, column.Type{Kind: column.Decimal, Precision: max(1, len(digits)), Scale: len(fraction), NotNull: true}}, nil
}

// interval supports INTERVAL '5' unit, '1-2' YEAR TO MONTH and 'd h:m:s' DAY TO SECOND.
func interval(e *sql.Interval) (Node, error) {
	sign := int64(1)
	if e.Negative {
		sign = -1
	}
	if e.To == "MONTH" {
		var y, m int64
		_, err := fmt.Sscanf(e.Value, "%d-%d", &y, &m)
		return &Const{sign * (12*y + m), column.Type{Kind: column.IntervalMonth, NotNull: true}}, err
	}
	if e.To == "SECOND" {
		var d, h, m int64
		var s float64
		_, err := fmt.Sscanf(e.Value, "%d %d:%d:%f", &d, &h, &m, &s)
		return &Const{sign * (d*moment.Day + h*moment.Hour + m*moment.Minute + int64(math.Round(s*1e6))), column.Type{Kind: column.IntervalDay, NotNull: true}}, err
	}
	f, err := strconv.ParseFloat(e.Value, 64)
	if months := unitMonths[e.From]; months > 0 {
		return &Const{sign * int64(f) * months, column.Type{Kind: column.IntervalMonth, NotNull: true}}, err
	}
	return &Const{sign * int64(math.Round(f*float64(unitSizes[e.From]))), column.Type{Kind: column.IntervalDay, NotNull: true}}, err
}

var typeNames = map[string]column.Kind{
	"BOOLEAN": column.Boolean, "TINYINT": column.TinyInt, "SMALLINT": column.SmallInt, "INT": column.Int, "INTEGER": column.Int, "BIGINT": column.BigInt, "FLOAT": column.Float, "DOUBLE": column.Double,
	"DECIMAL": column.Decimal, "STRING": column.String, "CHAR": column.String, "VARCHAR": column.String, "BYTES": column.Bytes, "BINARY": column.Bytes, "VARBINARY": column.Bytes, "DATE": column.Date,
	"TIME": column.Time, "TIMESTAMP": column.Timestamp, "TIMESTAMP_LTZ": column.TimestampLTZ, "ARRAY": column.Array, "MAP": column.Map, "ROW": column.Row,
	"INTERVAL SECOND": column.IntervalDay, "INTERVAL MONTH": column.IntervalMonth,
}

func typeOf(n *sql.TypeName) column.Type {
	param := func(i, otherwise int) int {
		if i < len(n.Params) {
			return n.Params[i]
		}
		return otherwise
	}
	t := column.Type{Kind: typeNames[n.Name], NotNull: n.NotNull}
	switch t.Kind {
	case column.Decimal:
		t.Precision, t.Scale = param(0, 10), param(1, 0)
	case column.Timestamp, column.TimestampLTZ:
		t.Precision = param(0, 6)
	case column.Time:
		t.Precision = param(0, 0)
	case column.String, column.Bytes:
		t.Length, t.Fixed = param(0, 0), n.Name == "CHAR" || n.Name == "BINARY"
	}
	if n.Elem != nil {
		e := typeOf(n.Elem)
		t.Elem = &e
	}
	if n.Key != nil {
		k := typeOf(n.Key)
		t.Key = &k
	}
	for _, f := range n.Fields {
		t.Fields = append(t.Fields, column.Field{Name: f.Name.Name, Type: typeOf(f.Type)})
	}
	return t
}
