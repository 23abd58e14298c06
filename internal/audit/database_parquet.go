package audit

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// readParquet calls fn with the rows of a Parquet file. Only its pages are read by a library: rows
// are put together here, from the levels of the values.
func (s *fileSnapshot) readParquet(f fs.File, of dataFile, columns []DatabaseColumn, fn func(fields map[string]any) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read Parquet: %v", r) // pages that contradict themselves
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	pages, ok := f.(io.ReaderAt)
	if !ok {
		return errors.New("pages of the file can't be read")
	}
	file, err := parquet.OpenFile(pages, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	if err := s.checkOrigin(file, of); err != nil {
		return err
	}
	root, err := shapeOf(ValueType{Kind: RowValue, Fields: columns}, file.Root())
	if err != nil {
		return err
	}
	n := int64(0)
	for _, group := range file.RowGroups() {
		if err := readRowGroup(group, root, func(fields map[string]any) error { n++; return fn(fields) }); err != nil {
			return err
		}
	}
	if n != file.NumRows() {
		return fmt.Errorf("it has %d rows, and its footer says %d", n, file.NumRows())
	}
	return nil
}

// checkOrigin compares what the footer says about the rows with the state.
func (s *fileSnapshot) checkOrigin(file *parquet.File, of dataFile) error {
	if id, _ := file.Lookup("weir.topic-id"); id != s.state.TopicID {
		return fmt.Errorf("its rows are of the topic with the id %q, and not %s", id, s.state.TopicID)
	}
	number := func(key string) int64 {
		text, _ := file.Lookup(key)
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	partition, from, next := number("weir.partition"), number("weir.from"), number("weir.next")
	if end := s.state.inPlace()[of.partition]; partition != int64(of.partition) || of.first < from || of.first >= next || next > end {
		return fmt.Errorf("its rows are of partition %d, offsets %d to %d, which does not fit its name, or the position %d", partition, from, next-1, end)
	}
	return nil
}

func readRowGroup(group parquet.RowGroup, root *shape, fn func(fields map[string]any) error) error {
	rows := group.Rows()
	defer rows.Close()
	buf, values := make([]parquet.Row, 64), make([][]parquet.Value, root.last)
	for {
		n, err := rows.ReadRows(buf)
		for _, row := range buf[:n] {
			clear(values)
			row.Range(func(leaf int, of []parquet.Value) bool {
				values[leaf] = of
				return true
			})
			v, err := root.value(values)
			if err != nil {
				return err
			}
			if err := fn(v.(map[string]any)); err != nil { //nolint:forcetypeassert // a RowValue that is required
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n == 0:
			return io.ErrNoProgress
		}
	}
}

// shape is a node of a file's schema, with the type that its values should have.
type shape struct {
	name        string
	of          ValueType
	children    []*shape // fields; element; key and value
	first, last int      // its leaf columns, last excluded
	present     int      // definition level from which on it is not NULL
	repeated    int      // of arrays and maps: definition level from which on there are elements
	again       int      // of arrays and maps: repetition level of further elements
	scalar      func(parquet.Value) any
}

// shapeOf compares a node of the schema with a type.
func shapeOf(of ValueType, c *parquet.Column) (s *shape, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("column %s: %w", c.Name(), err)
		}
	}()
	if c.Repeated() {
		return nil, errors.New("it is repeated")
	}
	s = &shape{name: c.Name(), of: of, present: c.MaxDefinitionLevel()}
	inner, types := c.Columns(), []ValueType(nil)
	switch of.Kind {
	case RowValue:
		for i, f := range of.Fields {
			if i >= len(inner) || inner[i].Name() != f.Field {
				return nil, fmt.Errorf("its columns are not those of the table: no %s at %d", f.Field, i+1)
			}
			types = append(types, f.Type)
		}
	case ArrayValue:
		types = []ValueType{*of.Elem}
	case MapValue:
		types = []ValueType{{Kind: TextValue}, *of.Elem}
	default:
		s.first, s.last = c.Index(), c.Index()+1
		if c.Leaf() {
			s.scalar = scalarOf(of.Kind, c.Type())
		}
		if s.scalar == nil {
			return nil, fmt.Errorf("the type %s is not the one of %s", c.Type(), of.Kind)
		}
		return s, nil
	}
	if of.Kind != RowValue {
		if len(inner) != 1 || !inner[0].Repeated() || !isNested(of.Kind, c.Type().LogicalType()) {
			return nil, fmt.Errorf("the type %s is not the one of %s", c.Type(), of.Kind)
		}
		s.repeated, s.again, inner = inner[0].MaxDefinitionLevel(), inner[0].MaxRepetitionLevel(), inner[0].Columns()
	}
	if len(inner) != len(types) {
		return nil, fmt.Errorf("it has %d columns instead of %d", len(inner), len(types))
	}
	for i, of := range types {
		child, err := shapeOf(of, inner[i])
		if err != nil {
			return nil, err
		}
		s.children = append(s.children, child)
	}
	s.first, s.last = s.children[0].first, s.children[len(types)-1].last
	return s, nil
}

func isNested(kind ValueKind, logical *format.LogicalType) bool {
	if logical == nil {
		return false
	}
	switch logical.Value.(type) {
	case *format.ListType:
		return kind == ArrayValue
	case *format.MapType:
		return kind == MapValue
	}
	return false
}

var errLevels = errors.New("the levels of its values contradict each other")

// value puts a value together from those of its leaf columns, as the topic has it.
func (s *shape) value(from [][]parquet.Value) (any, error) {
	if len(from[s.first]) == 0 {
		return nil, errLevels
	}
	lead := from[s.first][0].DefinitionLevel()
	if lead < s.present {
		return nil, nil
	}
	switch s.of.Kind {
	case RowValue:
		fields := make(map[string]any, len(s.children))
		for _, c := range s.children {
			v, err := c.value(from)
			if err != nil {
				return nil, err
			}
			fields[c.name] = v
		}
		return fields, nil
	case ArrayValue:
		list := []any{}
		return list, s.elements(from, lead, func(element [][]parquet.Value) error {
			v, err := s.children[0].value(element)
			list = append(list, v)
			return err
		})
	case MapValue:
		entries := make(map[string]any)
		return entries, s.elements(from, lead, func(element [][]parquet.Value) error {
			key, err := s.children[0].value(element)
			if err != nil {
				return err
			}
			name, ok := key.(string)
			if _, twice := entries[name]; !ok || twice {
				return fmt.Errorf("column %s has the key %v twice, or NULL", s.name, key)
			}
			entries[name], err = s.children[1].value(element)
			return err
		})
	}
	if len(from[s.first]) != 1 || from[s.first][0].IsNull() {
		return nil, errLevels
	}
	return s.scalar(from[s.first][0]), nil
}

// elements calls fn with the values of each element.
func (s *shape) elements(from [][]parquet.Value, lead int, fn func(element [][]parquet.Value) error) error {
	if lead < s.repeated {
		return nil
	}
	rest, element := slices.Clone(from), make([][]parquet.Value, len(from))
	for len(rest[s.first]) > 0 {
		for leaf := s.first; leaf < s.last; leaf++ {
			end := min(1, len(rest[leaf]))
			for end < len(rest[leaf]) && rest[leaf][end].RepetitionLevel() > s.again {
				end++
			}
			element[leaf], rest[leaf] = rest[leaf][:end], rest[leaf][end:]
		}
		if err := fn(element); err != nil {
			return err
		}
	}
	for leaf := s.first; leaf < s.last; leaf++ {
		if len(rest[leaf]) > 0 {
			return errLevels
		}
	}
	return nil
}

// scalarOf returns how values of a type are written in the topic, or nil if they are not of a kind.
func scalarOf(kind ValueKind, t parquet.Type) func(parquet.Value) any {
	var logical any
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	switch physical := t.Kind(); {
	case kind == BooleanValue && physical == parquet.Boolean:
		return func(v parquet.Value) any { return v.Boolean() }
	case kind == FloatValue && physical == parquet.Float:
		return func(v parquet.Value) any { return strconv.FormatFloat(float64(v.Float()), 'g', -1, 32) }
	case kind == DoubleValue && physical == parquet.Double:
		return func(v parquet.Value) any { return strconv.FormatFloat(v.Double(), 'g', -1, 64) }
	case kind == BytesValue && physical == parquet.ByteArray && logical == nil:
		return func(v parquet.Value) any { return base64.StdEncoding.EncodeToString(v.ByteArray()) }
	}
	switch of := logical.(type) {
	case *format.StringType:
		if kind == TextValue {
			return func(v parquet.Value) any { return string(v.ByteArray()) }
		}
	case *format.IntType:
		if kind == NumberValue && of.IsSigned {
			return func(v parquet.Value) any { return json.Number(integer(v).String()) }
		}
	case *format.DecimalType:
		if kind == NumberValue {
			unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(of.Scale)), nil)
			return func(v parquet.Value) any {
				return json.Number(new(big.Rat).SetFrac(integer(v), unit).FloatString(int(of.Scale)))
			}
		}
	case *format.DateType:
		if kind == DateValue {
			return func(v parquet.Value) any { return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly) }
		}
	case *format.TimeType:
		if kind == TimeValue && !of.IsAdjustedToUTC {
			return moment(of.Unit, "15:04:05.000000000")
		}
	case *format.TimestampType:
		switch {
		case kind == TimestampValue && !of.IsAdjustedToUTC:
			return moment(of.Unit, "2006-01-02T15:04:05.000000000")
		case kind == InstantValue && of.IsAdjustedToUTC:
			return moment(of.Unit, "2006-01-02T15:04:05.000000000Z")
		}
	}
	return nil
}

// moment returns how numbers of a unit since 1970, or midnight, are written.
func moment(unit format.TimeUnit, layout string) func(parquet.Value) any {
	return func(v parquet.Value) any {
		var at time.Time
		switch n := integer(v).Int64(); unit.Value.(type) {
		case *format.MilliSeconds:
			at = time.UnixMilli(n)
		case *format.MicroSeconds:
			at = time.UnixMicro(n)
		default:
			at = time.Unix(0, n)
		}
		return at.UTC().Format(layout)
	}
}

// integer returns the number of an integer type, or of a two's complement in bytes.
func integer(v parquet.Value) *big.Int {
	switch v.Kind() {
	case parquet.Int32:
		return big.NewInt(int64(v.Int32()))
	case parquet.Int64:
		return big.NewInt(v.Int64())
	}
	bytes := v.ByteArray()
	n := new(big.Int).SetBytes(bytes)
	if len(bytes) > 0 && bytes[0] >= 1<<7 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(bytes)))) //nolint:gosec // small
	}
	return n
}
