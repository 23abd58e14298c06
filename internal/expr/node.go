// Package expr compiles typed SQL expressions: it defines the functions and evaluates expressions
// over batches of columns, with SQL's NULL semantics and Flink's rules for coercion, overflow and
// rounding.
//
//	node.go        expressions: column, constant, call; folding of constants
//	compile.go     expression -> closures over a batch
//	budget.go      how large the result of a function may be
//	function.go    the function table; the functions are defined in the files below
//	arithmetic.go  + - * / %, comparison
//	logic.go       AND, OR, NOT, CASE, COALESCE, IN, BETWEEN, IS
//	cast.go        CAST and TRY_CAST
//	decimal.go     arithmetic of DECIMAL(p, s)
//	text.go        string functions
//	printf.go      PRINTF: formats of java.util.Formatter; printf_float.go has its floating-point
//	               numbers
//	pattern.go     LIKE, SIMILAR TO and regular expressions
//	encoding.go    hashes, BASE64, HEX, character sets, URLs
//	math.go        mathematical functions
//	moment.go      casts between dates, times, timestamps and text; wall clock times and instants
//	interval.go    adding intervals, TIMESTAMPADD, TIMESTAMPDIFF
//	extract.go     EXTRACT, and FLOOR and CEIL to a unit
//	dateformat.go  date patterns; conversions between text, numbers, dates and timestamps
//	json.go        JSON_VALUE and similar functions
//	field.go       fields of rows, and which of them an expression reads
//	typeof.go      TYPEOF
//	jsonbuild.go   JSON_OBJECT and JSON_ARRAY
//	transaction.go functions of the clock, random ones, CURRENT_WATERMARK
//	collection.go  rows, maps, access to elements
//	array.go       array functions
//	regexp.go      regular expressions with Java's semantics
//	javaregexp.go  translation of java.util.regex patterns to RE2; javaregexp_class.go escapes and
//	               classes, runeset.go sets of characters
//	jsonquote.go   quoting and unquoting JSON strings
//	precise.go     LN, EXP, POWER and SIN, accurate to the last digit
//	url.go         the parts of a URL, as defined by java.net.URL
//	zone.go        time zones
package expr

import (
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// Node is a typed expression: *Col, *Const or *Call.
type Node interface {
	Type() column.Type
	String() string
}

// Col is an input column, identified by its index.
type Col struct {
	Index int
	Name  string
	T     column.Type
	Cast  bool // written as a CAST to the type that the column has
}

// Const is a constant. Value is boxed like the result of Column.Value.
type Const struct {
	Value any
	T     column.Type
}

// Call is a call of a function or operator, with arguments converted to the types it computes with.
type Call struct {
	F    *Function
	Args []Node
	T    column.Type
	Zone Zone // for functions that depend on the session's time zone
	Data any  // prepared from constant arguments by the function
}

// Type implements Node.
func (c *Col) Type() column.Type { return c.T }

// Type implements Node.
func (c *Const) Type() column.Type { return c.T }

// Type implements Node.
func (c *Call) Type() column.Type { return c.T }

func (c *Col) String() string { return c.Name }

func (c *Const) String() string { return Format(c.Value, c.T) }

func (c *Call) String() string {
	var b strings.Builder
	c.write(&b)
	return b.String()
}

// Format formats a value as an SQL literal, for plans and messages.
func Format(v any, t column.Type) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		if t.Kind == column.Bytes {
			return fmt.Sprintf("x'%x'", v)
		}
		if t.Kind == column.Symbol {
			return v
		}
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case *big.Int:
		return column.DecimalText(v, t.Scale)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			et := column.Type{}
			if t.Elem != nil {
				et = *t.Elem
			} else if i < len(t.Fields) {
				et = t.Fields[i].Type
			}
			parts[i] = Format(e, et)
		}
		if t.Kind == column.Row {
			return "ROW(" + strings.Join(parts, ", ") + ")"
		}
		return "ARRAY[" + strings.Join(parts, ", ") + "]"
	case int64:
		switch t.Kind {
		case column.Date:
			return "DATE '" + moment.FormatDate(v) + "'"
		case column.Time:
			return "TIME '" + formatClock(v*1000, 3) + "'"
		case column.Timestamp, column.TimestampLTZ:
			return "TIMESTAMP '" + moment.FormatTimestamp(v, ' ') + "'"
		case column.IntervalDay:
			return "INTERVAL '" + strconv.FormatFloat(float64(v)/1e6, 'f', -1, 64) + "' SECOND"
		case column.IntervalMonth:
			return "INTERVAL '" + strconv.FormatInt(v, 10) + "' MONTH"
		}
		return strconv.FormatInt(v, 10)
	case bool:
		return strings.ToUpper(strconv.FormatBool(v))
	case float64:
		return javaDouble(v)
	}
	return fmt.Sprint(v)
}

// infix is the set of operators written between their operands.
var infix = map[string]bool{
	"+": true, "-": true, "*": true, "/": true, "%": true, "=": true, "<>": true, "<": true, "<=": true, ">": true, ">=": true,
	"AND": true, "OR": true, "||": true, "LIKE": true, "IS DISTINCT FROM": true, "IS NOT DISTINCT FROM": true,
}

// write writes the text of a call. A chain of 30,000 operators is nested as deeply, so that its
// text can't be put together from the texts of its arguments.
func (c *Call) write(b *strings.Builder) {
	name := c.F.Name
	switch {
	case infix[name] && len(c.Args) == 2:
		writeAll(b, "(", c.Args[:1], "", " "+name+" ")
		writeAll(b, "", c.Args[1:], "", ")")
	case strings.HasPrefix(name, "IS ") && len(c.Args) == 1:
		writeAll(b, "(", c.Args, "", " "+name+")")
	case name == "CAST" || name == "TRY_CAST":
		writeAll(b, name+"(", c.Args[:1], "", " AS "+c.T.Nullable(true).String()+")")
	case name == "FIELD":
		writeAll(b, "", c.Args[:1], "", "."+c.Args[1].(*Const).Value.(string))
	default:
		writeAll(b, name+"(", c.Args, ", ", ")")
	}
}

func writeAll(b *strings.Builder, before string, all []Node, between, after string) {
	b.WriteString(before)
	for i, n := range all {
		if i > 0 {
			b.WriteString(between)
		}
		if c, ok := n.(*Call); ok {
			c.write(b)
		} else {
			b.WriteString(n.String())
		}
	}
	b.WriteString(after)
}

// Walk calls fn for a node and all its descendants.
func Walk(n Node, fn func(Node)) {
	fn(n)
	if c, ok := n.(*Call); ok {
		for _, a := range c.Args {
			Walk(a, fn)
		}
	}
}

// Replace rebuilds an expression bottom-up, applying fn to each node.
func Replace(n Node, fn func(Node) Node) Node {
	if c, ok := n.(*Call); ok {
		args := make([]Node, len(c.Args))
		for i, a := range c.Args {
			args[i] = Replace(a, fn)
		}
		copied := *c
		copied.Args = args
		return fn(&copied)
	}
	return fn(n)
}

// Columns returns the indexes of the columns that an expression reads.
func Columns(n Node) map[int]bool {
	set := make(map[int]bool)
	Walk(n, func(n Node) {
		if c, ok := n.(*Col); ok {
			set[c.Index] = true
		}
	})
	return set
}

// Fold replaces calls with constant arguments by their values. A call that fails is kept, so that
// it fails at run time.
func Fold(n Node) Node {
	return Replace(n, func(n Node) Node {
		c, ok := n.(*Call)
		if !ok || c.F.Volatile {
			return n
		}
		for _, a := range c.Args {
			if _, constant := a.(*Const); !constant {
				return foldLogic(c)
			}
		}
		compiled, err := Compile(c)
		if err != nil {
			return n
		}
		b := &column.Batch{N: 1}
		v := compiled.Box(b, 0)
		if b.Err != nil || !foldable(v) {
			return n
		}
		return &Const{v, c.T}
	})
}

// foldLogic removes TRUE from AND and FALSE from OR, and replaces a call decided by a constant by
// that constant.
func foldLogic(c *Call) Node {
	if c.F.Name != "AND" && c.F.Name != "OR" {
		return c
	}
	decides := c.F.Name == "OR"
	for i, a := range c.Args {
		if k, ok := a.(*Const); ok && k.Value != nil {
			if k.Value == decides {
				return k
			}
			return c.Args[1-i]
		}
	}
	return c
}

// sameClauses reports whether calls have the same clauses, such as NULL ON EMPTY.
func sameClauses(a, b any) bool {
	switch a := a.(type) {
	case *jsonCall:
		b, ok := b.(*jsonCall)
		return ok && reflect.DeepEqual(a.options, b.options)
	case *jsonBuild:
		return reflect.DeepEqual(a, b)
	}
	return true
}

// SameNode reports whether two expressions on the same input are identical.
func SameNode(a, b Node) bool {
	switch a := a.(type) {
	case *Col:
		b, ok := b.(*Col)
		return ok && a.Index == b.Index
	case *Const:
		b, ok := b.(*Const)
		return ok && a.T.Same(b.T) && (a.Value == nil) == (b.Value == nil) && (a.Value == nil || column.EqualBoxed(a.Value, b.Value))
	case *Call:
		b, ok := b.(*Call)
		if !ok || a.F != b.F || len(a.Args) != len(b.Args) || !a.T.Same(b.T) || !sameClauses(a.Data, b.Data) {
			return false
		}
		for i := range a.Args {
			if !SameNode(a.Args[i], b.Args[i]) {
				return false
			}
		}
		return true
	}
	return false
}
