package plan

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// datagen is the connector datagen, whose rows are generated into a topic of the pipeline, from
// which the query reads them.
type datagen struct{}

// Generator says which rows a table has that no producer writes.
type Generator struct {
	Rate       int64 // rows per second
	Rows       int64 // after which they end; 0 is never
	Partitions int32
	Constant   [][]byte    // the rows of VALUES as values of records; nil for generated ones
	Values     []Generated // otherwise, parallel to the columns of the table's value
	Zone       expr.Zone   // of dates and times without a zone

	clocks map[int]bool // columns that are the clock, see readClock
}

// Generated says how the values of a column are generated.
type Generated struct {
	Type       column.Type
	Start      int64 // of a sequence; the value of row n, from 0, is Start+n
	Sequence   bool
	Clock      bool    // the time at which the row is generated
	Min, Max   float64 // of numbers with digits after the point
	Low, High  int64   // of integers and intervals, both inclusive
	Length     int     // of text, bytes, arrays and maps
	VarLength  bool    // up to Length
	NullRate   float64
	MaxPast    time.Duration // of timestamps
	Key, Value *Generated    // of arrays and maps
	Fields     []Generated   // of rows
}

const (
	defaultRate       = 10_000 // rows per second
	defaultTextLength = 100
	defaultListLength = 3
	maxGenerated      = 100_000 // a limit of Weir
	maxGenerators     = 256
)

// options implements connector. Options of columns are read by bind.
func (datagen) options() []option {
	return []option{
		connectorOption,
		{key: "rows-per-second", kind: integerOption, otherwise: strconv.Itoa(defaultRate), about: "Rows that are generated in a second."},
		{key: "number-of-rows", kind: integerOption, about: "Rows after which the table ends; without it, it never does."},
		{key: "scan.parallelism", kind: integerOption, otherwise: "1", about: "Partitions of the generated rows."},
	}
}

// columnPrefix begins the options of a column.
const columnPrefix = "fields."

// columnOptions declares the options of a column, which follow its name.
func (datagen) columnOptions() []option {
	return []option{
		{key: "kind", kind: enumOption, values: []string{"random", "sequence"}, about: "How values are generated."},
		{key: "min", kind: doubleOption, otherwise: "the type's least value", about: "The least random number."},
		{key: "max", kind: doubleOption, otherwise: "the type's greatest value", about: "The greatest random number."},
		{key: "start", kind: integerOption, otherwise: required + " for a sequence", about: "The first value of a sequence."},
		{key: "end", kind: integerOption, otherwise: required + " for a sequence", about: "The last value of a sequence."},
		{key: "length", kind: integerOption, otherwise: fmt.Sprintf("%d for text, %d for arrays and maps", defaultTextLength, defaultListLength), about: "The length of text, bytes, arrays and maps."},
		{key: "var-len", kind: booleanOption, otherwise: "false", about: "Whether the length varies, up to 'length'."},
		{key: "max-past", kind: durationOption, otherwise: "0 s", about: "How far timestamps lie in the past, at most."},
		{key: "null-rate", kind: doubleOption, otherwise: "0", about: "The share of NULL."},
	}
}

func (datagen) metadata() map[string]metadata { return nil }

func (datagen) bind(t *Table, o *options) (err error) {
	g := t.Generator
	if g.Rate, err = o.number("rows-per-second", defaultRate, 1, math.MaxInt32); err != nil {
		return err
	}
	if g.Rows, err = o.number("number-of-rows", 0, 1, math.MaxInt64); err != nil {
		return err
	}
	n, err := o.number("scan.parallelism", 1, 1, maxGenerators)
	if err != nil {
		return err
	}
	g.Partitions = int32(n) //nolint:gosec // a small number
	if !resultName.MatchString(t.Name) {
		return sql.Errorf(t, "table %s: the name can't be part of the topic through which its rows pass", t.Name).WithHint("use letters, digits, _ and -")
	}
	t.Kafka = &Kafka{Startup: Startup{Group: true}, Reset: ResetEarliest}
	for i, c := range t.Columns {
		if !c.Physical() {
			continue
		}
		t.Kafka.Value.add(t, i)
		field := columnPrefix + c.Name
		v := Generated{Type: c.Type, Clock: g.clocks[i]}
		if !v.Clock {
			if v, err = o.generated(t, field, c.Type, g); err != nil {
				return err
			}
		}
		g.Values = append(g.Values, v)
	}
	if len(g.Values) == 0 {
		return sql.Errorf(t, "table %s has no columns to generate", t.Name)
	}
	if t.PrimaryKey != nil {
		return sql.Errorf(t, "table %s: generated rows can't have a PRIMARY KEY", t.Name).WithHint("leave it out: rows of datagen are only inserted")
	}
	t.Kafka.Value.Name, t.Kafka.Value.Options = "json", format.Options{"fail-on-missing-field": "true"}
	if err := format.Check("json", t.Kafka.Value.Fields, t.Kafka.Value.Options); err != nil {
		return sql.Errorf(t, "table %s: generated rows pass through a topic as JSON: %s", t.Name, err)
	}
	t.Bounded = g.Rows > 0
	return o.checkFields(t)
}

// checkFields refuses options of columns that do not exist, or do not have them.
func (o *options) checkFields(t *Table) error {
	for _, key := range slices.Sorted(maps.Keys(o.all)) {
		option := o.all[key]
		rest, ok := strings.CutPrefix(key, columnPrefix)
		if !ok || o.read[option.Key] {
			continue
		}
		name, what, _ := strings.Cut(rest, ".")
		i := t.index(name)
		if i < 0 {
			return sql.Errorf(option, "option '%s' is about column %s, which %s does not have", option.Key, name, t.Name).WithHint("%s", suggest.DidYouMean(name, t.names()))
		}
		return sql.Errorf(option, "option '%s' has no effect: a generated %s has no '%s'", option.Key, t.Columns[i].Type.Nullable(true), what)
	}
	return nil
}

// number reads an option that is an integer.
func (o *options) number(key string, otherwise, least, most int64) (int64, error) {
	text := o.get(key)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, o.bad(key, fmt.Sprintf("write an integer from %d to %d", least, most))
	}
	return n, nil
}

// generated reads the options of a column, or of a part of it.
func (o *options) generated(t *Table, field string, of column.Type, g *Generator) (Generated, error) {
	kind, err := o.one(field+".kind", valuesOf(datagen{}.columnOptions(), "kind")...)
	if err != nil {
		return Generated{}, err
	}
	if kind == "sequence" {
		return o.sequence(t, field, of, g)
	}
	v := Generated{Type: of}
	if text := o.get(field + ".null-rate"); text != "" {
		if v.NullRate, err = strconv.ParseFloat(text, 64); err != nil || !(v.NullRate >= 0 && v.NullRate <= 1) {
			return v, o.bad(field+".null-rate", "write a number from 0 to 1")
		}
		if v.NullRate > 0 && of.NotNull {
			return v, o.bad(field+".null-rate", "the column is NOT NULL")
		}
	}
	switch of.Kind {
	case column.Boolean, column.Date, column.Time:
	case column.TinyInt, column.SmallInt, column.Int, column.BigInt:
		err = o.integers(&v, field)
	case column.Float, column.Double, column.Decimal:
		err = o.floats(&v, field)
	case column.String, column.Bytes:
		err = o.lengths(&v, field)
	case column.Timestamp, column.TimestampLTZ:
		if text := o.get(field + ".max-past"); text != "" {
			if v.MaxPast, err = ParseDuration(text); err != nil {
				err = o.bad(field+".max-past", "write a duration such as 1 h")
			}
		}
	case column.Array:
		v.Length, err = o.listLength(field)
		if err == nil {
			v.Value, err = o.part(t, field+".element", *of.Elem, g)
		}
	case column.Multiset:
		v.Length, err = o.listLength(field)
		if err == nil {
			v.Key, err = o.part(t, field+".element", *of.Key, g)
		}
	case column.Map:
		v.Length, err = o.listLength(field)
		if err == nil {
			v.Key, err = o.part(t, field+".key", *of.Key, g)
		}
		if err == nil {
			v.Value, err = o.part(t, field+".value", *of.Elem, g)
		}
	case column.Row:
		for _, f := range of.Fields {
			part, err := o.part(t, field+"."+f.Name, f.Type, g)
			if err != nil {
				return v, err
			}
			v.Fields = append(v.Fields, *part)
		}
	default:
		err = sql.Errorf(t, "column %s of %s is %s, which can't be generated", strings.TrimPrefix(field, columnPrefix), t.Name, of.Nullable(true))
	}
	return v, err
}

func (o *options) part(t *Table, field string, of column.Type, g *Generator) (*Generated, error) {
	if o.has(field+".kind") && o.all[field+".kind"].Value == "sequence" {
		return nil, o.bad(field+".kind", "parts of ARRAY, MULTISET, MAP and ROW are random")
	}
	v, err := o.generated(t, field, of, g)
	return &v, err
}

// sequence reads the options of a column that counts. The table ends with it.
func (o *options) sequence(t *Table, field string, of column.Type, g *Generator) (Generated, error) {
	v := Generated{Type: of, Sequence: true}
	switch of.Kind {
	case column.TinyInt, column.SmallInt, column.Int, column.BigInt, column.Float, column.Double, column.Decimal, column.String:
	default:
		return v, o.bad(field+".kind", fmt.Sprintf("a sequence can be a number or text, and the column is %s", of.Nullable(true)))
	}
	low, high := integerRange(of)
	var ends [2]int64
	for i, key := range []string{field + ".start", field + ".end"} {
		if !o.has(key) {
			return v, sql.Errorf(t, "table %s has no option '%s', which a sequence needs", t.Name, key)
		}
		n, err := o.number(key, 0, low, high)
		if err != nil {
			return v, err
		}
		ends[i] = n
	}
	if ends[1] < ends[0] || ends[1]-ends[0] < 0 || ends[1]-ends[0] == math.MaxInt64 {
		return v, o.bad(field+".end", "the end must not be before the start")
	}
	v.Start = ends[0]
	if rows := ends[1] - ends[0] + 1; g.Rows == 0 || rows < g.Rows {
		g.Rows = rows
	}
	return v, nil
}

// integerRange returns the integers that a type has.
func integerRange(t column.Type) (low, high int64) {
	switch t.Kind {
	case column.TinyInt:
		return math.MinInt8, math.MaxInt8
	case column.SmallInt:
		return math.MinInt16, math.MaxInt16
	case column.Int:
		return math.MinInt32, math.MaxInt32
	case column.Decimal:
		if digits := t.Precision - t.Scale; digits < 18 {
			most := new(big.Int).Sub(column.Power10(digits), big.NewInt(1)).Int64()
			return -most, most
		}
	}
	return math.MinInt64, math.MaxInt64
}

func (o *options) integers(v *Generated, field string) (err error) {
	low, high := integerRange(v.Type)
	if v.Low, err = o.number(field+".min", low, low, high); err != nil {
		return err
	}
	if v.High, err = o.number(field+".max", high, low, high); err != nil {
		return err
	}
	if v.Low > v.High {
		return o.badRange(field)
	}
	return nil
}

// badRange says that the minimum is above the maximum.
func (o *options) badRange(field string) error {
	for _, key := range []string{field + ".max", field + ".min"} {
		if o.has(key) {
			return o.bad(key, "the minimum must not be above the maximum")
		}
	}
	return nil
}

func (o *options) floats(v *Generated, field string) error {
	most := map[column.Kind]float64{column.Float: math.MaxFloat32, column.Double: math.MaxFloat64}[v.Type.Kind]
	least := 0.0
	if v.Type.Kind == column.Decimal {
		unit, _ := new(big.Float).SetInt(column.Power10(v.Type.Precision - v.Type.Scale)).Float64()
		most, least = unit, -unit
	}
	for _, bound := range []struct {
		key   string
		into  *float64
		other float64
	}{{field + ".min", &v.Min, least}, {field + ".max", &v.Max, most}} {
		*bound.into = bound.other
		text := o.get(bound.key)
		if text == "" {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.Abs(n) > most {
			return o.bad(bound.key, fmt.Sprintf("write a number that %s has", v.Type.Nullable(true)))
		}
		*bound.into = n
	}
	if v.Min > v.Max {
		return o.badRange(field)
	}
	return nil
}

// lengths reads the length of text or bytes. As in Flink, CHAR(n) and BINARY(n) have theirs, and
// those of VARCHAR(n) and VARBINARY(n) can be shorter.
func (o *options) lengths(v *Generated, field string) (err error) {
	declared := int64(v.Type.Length)
	most := int64(maxGenerated)
	if declared > 0 {
		most = min(declared, most)
	}
	if v.Type.Fixed && o.has(field+".length") {
		return o.bad(field+".length", fmt.Sprintf("the column is %s, which has its length", v.Type.Nullable(true)))
	}
	otherwise := int64(defaultTextLength)
	if declared > 0 {
		otherwise = most
	}
	n, err := o.number(field+".length", otherwise, 1, most)
	if err != nil {
		return err
	}
	v.Length = int(n)
	if text := o.get(field + ".var-len"); text != "" {
		if v.VarLength, err = strconv.ParseBool(text); err != nil || v.VarLength && v.Type.Fixed {
			return o.bad(field+".var-len", "write true or false; only text and bytes of any length can have several ones")
		}
	}
	return nil
}

func (o *options) listLength(field string) (int, error) {
	n, err := o.number(field+".length", defaultListLength, 0, maxGenerated)
	return int(n), err
}

var clocks = []string{"CURRENT_DATE", "CURRENT_ROW_TIMESTAMP", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "NOW"}

// readClock makes computed columns of a generated table that are the clock alone, such as ts AS
// LOCALTIMESTAMP, part of the rows: they have the time at which the row was generated, whenever it
// is read. It reports whether no other computed column remains.
func (g *Generator) readClock(t *Table) (all bool) {
	g.clocks = make(map[int]bool)
	all = true
	for i, c := range t.Columns {
		call, ok := c.Computed.(*expr.Call)
		if ok && len(call.Args) == 0 && slices.Contains(clocks, call.F.SQLName()) {
			t.Columns[i].Computed = nil
			g.clocks[i] = true
		}
		all = all && t.Columns[i].Computed == nil
	}
	return all
}
