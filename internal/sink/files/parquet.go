package files

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"reflect"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
)

// groupRows bounds the rows of a row group, which readers read in parallel.
const groupRows = 1 << 20

// dictionaryBytes is the size of a dictionary beyond which strings are stored as they are.
const dictionaryBytes = 1 << 20

func parquetFiles(table string, fields []format.Field, compression string) (func(io.Writer, metadata) (encoder, error), error) {
	row := column.Type{Kind: column.Row, NotNull: true}
	for _, f := range fields {
		row.Fields = append(row.Fields, column.Field{Name: f.Name, Type: f.Type})
	}
	s := &shredder{}
	node, root, err := s.node(row, 0, 0)
	if err != nil {
		return nil, err
	}
	schema := parquet.NewSchema(table, node)
	codec := map[string]parquet.WriterOption{
		"SNAPPY": parquet.Compression(&parquet.Snappy), "GZIP": parquet.Compression(&parquet.Gzip),
		"ZSTD": parquet.Compression(&parquet.Zstd), "UNCOMPRESSED": parquet.Compression(&parquet.Uncompressed),
	}[compression]
	return func(w io.Writer, m metadata) (encoder, error) {
		options := []parquet.WriterOption{schema, codec, parquet.MaxRowsPerRowGroup(groupRows), parquet.DictionaryMaxBytes(dictionaryBytes), parquet.CreatedBy("weir", "1", "0")}
		for key, value := range map[string]string{
			"weir.sink": m.sink, "weir.topic": m.topic, "weir.topic-id": m.topicID, "weir.partition": strconv.Itoa(int(m.partition)),
			"weir.from": strconv.FormatInt(m.from, 10), "weir.next": strconv.FormatInt(m.next, 10),
		} {
			options = append(options, parquet.KeyValueMetadata(key, value))
		}
		return &parquetEncoder{w: parquet.NewGenericWriter[any](w, options...), root: root, values: make([][]parquet.Value, s.leaves)}, nil
	}, nil
}

// parquetEncoder writes rows of a Parquet file.
type parquetEncoder struct {
	w      *parquet.GenericWriter[any]
	root   *shred
	values [][]parquet.Value // of the row, by leaf
	row    parquet.Row
}

func (e *parquetEncoder) add(cols []*column.Column, row int) error {
	for i := range e.values {
		e.values[i] = e.values[i][:0]
	}
	for i, c := range cols {
		if err := e.root.children[i].add(e.values, c.Value(row), 0, 0); err != nil {
			return &rowError{fmt.Errorf("column %s: %w", e.root.names[i], err)}
		}
	}
	e.row = e.row[:0]
	for _, v := range e.values {
		e.row = append(e.row, v...)
	}
	_, err := e.w.WriteRows([]parquet.Row{e.row})
	return err
}

func (e *parquetEncoder) close() error { return e.w.Close() }

// shred turns values of a type into values of Parquet's leaf columns with their levels.
type shred struct {
	of       column.Type
	children []*shred // fields; element; key and value
	names    []string // of fields
	leaf     int
	repeats  int // repetition level of further elements
}

// shredder numbers leaves.
type shredder struct{ leaves int }

// node returns the node of a type below a number of repeated ones.
func (s *shredder) node(t column.Type, repeats, depth int) (parquet.Node, *shred, error) {
	c := &shred{of: t, leaf: -1, repeats: repeats + 1}
	var node parquet.Node
	switch t.Kind {
	case column.Row:
		var fields []parquet.Field
		for _, f := range t.Fields {
			n, child, err := s.node(f.Type, repeats, depth+1)
			if err != nil {
				return nil, nil, err
			}
			fields = append(fields, orderedField{n, f.Name})
			c.children, c.names = append(c.children, child), append(c.names, f.Name)
		}
		node = orderedGroup{parquet.Group{}, fields}
		if depth == 0 {
			return node, c, nil
		}
	case column.Array:
		n, child, err := s.node(*t.Elem, repeats+1, depth+1)
		if err != nil {
			return nil, nil, err
		}
		node, c.children = parquet.List(n), []*shred{child}
	case column.Multiset, column.Map:
		k, key, err := s.node(t.Key.Nullable(false), repeats+1, depth+1)
		if err != nil {
			return nil, nil, err
		}
		elem := *t.Elem
		if t.Kind == column.Multiset { // as in Flink
			elem.NotNull = true
		}
		v, value, err := s.node(elem, repeats+1, depth+1)
		if err != nil {
			return nil, nil, err
		}
		node, c.children = parquet.Map(k, v), []*shred{key, value}
	default:
		if node = leafNode(t); node == nil {
			return nil, nil, fmt.Errorf("type %s can't be stored in Parquet", t)
		}
		c.leaf = s.leaves
		s.leaves++
	}
	if !t.NotNull {
		return parquet.Optional(node), c, nil
	}
	return parquet.Required(node), c, nil
}

// Precisions up to which a DECIMAL is stored as an integer.
const (
	digits32 = 9
	digits64 = 18
)

func leafNode(t column.Type) parquet.Node {
	switch t.Kind {
	case column.Boolean:
		return parquet.Leaf(parquet.BooleanType)
	case column.TinyInt:
		return parquet.Int(8)
	case column.SmallInt:
		return parquet.Int(16)
	case column.Int:
		return parquet.Int(32)
	case column.BigInt:
		return parquet.Int(64)
	case column.Float:
		return parquet.Leaf(parquet.FloatType)
	case column.Double:
		return parquet.Leaf(parquet.DoubleType)
	case column.Decimal:
		switch {
		case t.Precision <= digits32:
			return parquet.Decimal(t.Scale, t.Precision, parquet.Int32Type)
		case t.Precision <= digits64:
			return parquet.Decimal(t.Scale, t.Precision, parquet.Int64Type)
		}
		return parquet.Decimal(t.Scale, t.Precision, parquet.FixedLenByteArrayType(decimalBytes(t.Precision)))
	case column.String:
		return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	case column.Bytes:
		return parquet.Leaf(parquet.ByteArrayType)
	case column.Date:
		return parquet.Date()
	case column.Time:
		return parquet.TimeAdjusted(parquet.Millisecond, false)
	case column.Timestamp:
		return parquet.TimestampAdjusted(parquet.Microsecond, false)
	case column.TimestampLTZ:
		return parquet.TimestampAdjusted(parquet.Microsecond, true)
	}
	return nil
}

// decimalBytes returns how many bytes of two's complement hold a number of digits.
func decimalBytes(precision int) int {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	return limit.BitLen()/8 + 1
}

var (
	errNull    = errors.New("the value is NULL, but the type is NOT NULL")
	errNullKey = errors.New("a key of a MAP is NULL, which Parquet does not allow")
)

// add appends the values of v, below definition levels that are present.
func (c *shred) add(to [][]parquet.Value, v any, repetition, definition int) error {
	if !c.of.NotNull {
		if v == nil {
			c.absent(to, repetition, definition)
			return nil
		}
		definition++
	}
	if v == nil {
		return errNull
	}
	switch v := v.(type) {
	case *column.Dict:
		return c.addMap(to, v, repetition, definition)
	case []any:
		if c.of.Kind == column.Row {
			for i, child := range c.children {
				if err := child.add(to, v[i], repetition, definition); err != nil {
					return err
				}
			}
			return nil
		}
		return c.addList(to, v, repetition, definition)
	}
	to[c.leaf] = append(to[c.leaf], c.value(v).Level(repetition, definition, c.leaf))
	return nil
}

func (c *shred) addList(to [][]parquet.Value, list []any, repetition, definition int) error {
	if len(list) == 0 {
		c.absent(to, repetition, definition)
	}
	for i, v := range list {
		if i > 0 {
			repetition = c.repeats
		}
		if err := c.children[0].add(to, v, repetition, definition+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *shred) addMap(to [][]parquet.Value, m *column.Dict, repetition, definition int) error {
	if len(m.Keys) == 0 {
		c.absent(to, repetition, definition)
	}
	for i, k := range m.Keys {
		if k == nil {
			return errNullKey
		}
		if i > 0 {
			repetition = c.repeats
		}
		if err := errors.Join(c.children[0].add(to, k, repetition, definition+1), c.children[1].add(to, m.Values[i], repetition, definition+1)); err != nil {
			return err
		}
	}
	return nil
}

// absent appends NULL to all leaves.
func (c *shred) absent(to [][]parquet.Value, repetition, definition int) {
	if c.leaf >= 0 {
		to[c.leaf] = append(to[c.leaf], parquet.NullValue().Level(repetition, definition, c.leaf))
		return
	}
	for _, child := range c.children {
		child.absent(to, repetition, definition)
	}
}

func (c *shred) value(v any) parquet.Value {
	switch v := v.(type) {
	case bool:
		return parquet.BooleanValue(v)
	case int64:
		switch c.of.Kind {
		case column.BigInt, column.Timestamp, column.TimestampLTZ:
			return parquet.Int64Value(v)
		case column.Boolean:
			return parquet.BooleanValue(v != 0)
		}
		return parquet.Int32Value(int32(v)) //nolint:gosec // by the type's range
	case float64:
		if c.of.Kind == column.Float {
			return parquet.FloatValue(float32(v))
		}
		return parquet.DoubleValue(v)
	case *big.Int:
		switch {
		case c.of.Precision <= digits32:
			return parquet.Int32Value(int32(v.Int64())) //nolint:gosec // by the precision
		case c.of.Precision <= digits64:
			return parquet.Int64Value(v.Int64())
		}
		return parquet.FixedLenByteArrayValue(twosComplement(v, decimalBytes(c.of.Precision)))
	}
	s, _ := v.(string)
	return parquet.ByteArrayValue([]byte(s))
}

// twosComplement returns v in n bytes, big-endian.
func twosComplement(v *big.Int, n int) []byte {
	if v.Sign() < 0 {
		v = new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(8*n))) //nolint:gosec // n is small
	}
	return v.FillBytes(make([]byte, n))
}

// orderedGroup is a group whose fields keep their order; those of parquet.Group are sorted.
type orderedGroup struct {
	parquet.Group
	fields []parquet.Field
}

func (g orderedGroup) Fields() []parquet.Field { return g.fields }

// GoType is not used: rows are written as values. Names of columns need not be valid in Go.
func (g orderedGroup) GoType() reflect.Type { return reflect.TypeFor[struct{}]() }

type orderedField struct {
	parquet.Node
	name string
}

func (f orderedField) Name() string { return f.name }

// Value is not used: see GoType.
func (f orderedField) Value(reflect.Value) reflect.Value { return reflect.Value{} }
