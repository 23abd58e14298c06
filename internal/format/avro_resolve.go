package format

import (
	"fmt"
	"math/big"

	"weir.example/weir/internal/column"
)

// avroResolve determines how values of the writer's schema are converted to a column's type. reader
// is the schema of the column: it supplies aliases, defaults and symbols, but the type is to.
func avroResolve(writer, reader *avroType, to column.Type, depth int) (*avroReading, error) {
	if depth > maxDepth {
		return nil, errAvroDepth
	}
	if reader != nil {
		reader = reader.plain()
	}
	if writer.kind != avroUnion {
		return avroValue(writer, reader, to, depth)
	}
	if plain := writer.plain(); plain != writer {
		r, err := avroValue(plain, reader, to, depth)
		if err == nil {
			r.null = writer.nullBranch()
		}
		return r, err
	}
	r := &avroReading{from: writer, to: to, null: -1}
	fits := false
	var first error
	for _, b := range writer.branches {
		if b.kind == avroNull {
			r.branches = append(r.branches, avroBranch{})
			continue
		}
		of, err := avroValue(b, reader, to, depth)
		fits = fits || err == nil
		if err != nil && first == nil {
			first = err
		}
		r.branches = append(r.branches, avroBranch{of, err})
	}
	if !fits && first != nil { // one compatible branch is enough: the others fail only if a record uses them
		return nil, first
	}
	return r, nil
}

func avroValue(writer, reader *avroType, to column.Type, depth int) (*avroReading, error) {
	r := &avroReading{from: writer, to: to, null: -1, times: 1, by: 1}
	fits := false
	switch to.Kind {
	case column.Boolean:
		fits = writer.kind == avroBoolean
	case column.TinyInt, column.SmallInt, column.Int:
		fits = writer.kind == avroInt
	case column.BigInt:
		fits = writer.kind == avroInt || writer.kind == avroLong
	case column.Float:
		fits = writer.kind >= avroInt && writer.kind <= avroFloat
	case column.Double:
		fits = writer.kind >= avroInt && writer.kind <= avroDouble
	case column.String:
		if writer.kind == avroEnum {
			r.symbols = avroSymbols(writer, reader)
		}
		fits = writer.kind == avroString || writer.kind == avroBytes || writer.kind == avroEnum
	case column.Bytes:
		fits = writer.kind == avroString || writer.kind == avroBytes || writer.kind == avroFixed
	case column.Date:
		fits = writer.kind == avroInt && (writer.logical == "date" || writer.logical == "")
	case column.Time:
		fits = r.time()
	case column.Timestamp, column.TimestampLTZ:
		fits = r.timestamp()
	case column.Decimal:
		fits = r.decimal()
	case column.Array, column.Multiset, column.Map:
		if fits = writer.kind == avroArray && to.Kind == column.Array || writer.kind == avroMap && avroMapped(to); fits {
			var inner *avroType
			if reader != nil {
				inner = reader.elem
			}
			elem, err := avroResolve(writer.elem, inner, *to.Elem, depth+1)
			r.elem = elem
			return r, err
		}
	case column.Row:
		if fits = writer.kind == avroRecord; fits {
			return r, r.row(reader, depth)
		}
	}
	if !fits && writer.kind != avroNull {
		return nil, fmt.Errorf("found %s, expected %s", writer, to.Nullable(true))
	}
	return r, nil
}

func (r *avroReading) time() bool {
	switch {
	case r.from.kind == avroInt && (r.from.logical == "time-millis" || r.from.logical == ""):
		return true
	case r.from.kind == avroLong && r.from.logical == "time-micros":
		r.by = 1000
		return true
	}
	return false
}

// timestamp uses the unit of the writer's schema, which is milliseconds by default.
func (r *avroReading) timestamp() bool {
	if r.from.kind != avroLong {
		return false
	}
	switch r.from.logical {
	case "timestamp-millis", "local-timestamp-millis", "":
		r.times = 1000
	case "timestamp-micros", "local-timestamp-micros":
	case "timestamp-nanos", "local-timestamp-nanos":
		r.by = 1000
	default:
		return false
	}
	return true
}

// decimal reports whether the column's scale is at least the writer's.
func (r *avroReading) decimal() bool {
	if r.from.kind != avroBytes && r.from.kind != avroFixed {
		return false
	}
	if r.from.logical == "decimal" {
		r.scale = r.to.Scale - r.from.scale
	}
	return r.scale >= 0
}

// avroSymbols maps the symbols of the writer's enum to the reader's. A symbol that is missing in
// the reader's enum becomes the default, or an error if there is none.
func avroSymbols(writer, reader *avroType) []any {
	known := make(map[string]bool)
	if reader != nil && reader.kind == avroEnum {
		for _, s := range reader.symbols {
			known[s] = true
		}
	}
	all := make([]any, len(writer.symbols))
	for i, s := range writer.symbols {
		switch {
		case len(known) == 0 || known[s]:
			all[i] = s
		case reader.symbolDefault != "":
			all[i] = reader.symbolDefault
		default:
			all[i] = fmt.Errorf("the reader's enum %s has no symbol %s and no default", reader.name, s)
		}
	}
	return all
}

func (r *avroReading) row(reader *avroType, depth int) error {
	have := make(map[int]bool)
	for _, f := range r.from.fields {
		n := avroNested{writer: f.typ, field: -1}
		name := f.name
		var inner *avroType
		if reader != nil && reader.kind == avroRecord {
			if rf := reader.field(f.name); rf != nil {
				name, inner = rf.name, rf.typ
			}
		}
		for i, col := range r.to.Fields {
			if col.Name == name && !have[i] {
				have[i] = true
				n.field = i
				var err error
				if n.as, err = avroResolve(f.typ, inner, col.Type, depth+1); err != nil {
					return fmt.Errorf("%s: %w", f.name, err)
				}
			}
		}
		r.fields = append(r.fields, n)
	}
	if reader == nil || reader.kind != avroRecord {
		reader = &avroType{kind: avroRecord}
	}
	for i, col := range r.to.Fields {
		if have[i] {
			continue
		}
		v, err := reader.fallback(col.Name, col.Type)
		if err != nil {
			return err
		}
		r.absent = append(r.absent, avroFallback{i, v})
	}
	return nil
}

// boxed reads a value within another.
func (r *avroReading) boxed(in *avroInput, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errAvroDepth
	}
	if r.null >= 0 {
		branch, err := in.long()
		if err != nil || branch == int64(r.null) {
			return nil, err
		}
		if branch != int64(1-r.null) {
			return nil, fmt.Errorf("branch %d of a union of two", branch)
		}
	}
	switch {
	case r.branches != nil:
		other, err := r.branch(in)
		if err != nil || other == nil {
			return nil, err
		}
		return other.boxed(in, depth)
	case r.from.kind == avroNull:
		return nil, nil
	}
	return r.value(in, depth)
}

// value reads a non-null value.
func (r *avroReading) value(in *avroInput, depth int) (any, error) {
	switch r.to.Class() {
	case column.Ints:
		v, err := r.int(in)
		if r.to.Kind == column.Boolean {
			return v != 0, err
		}
		return v, err
	case column.Floats:
		return r.float(in)
	case column.Texts:
		return r.text(in)
	}
	switch r.to.Kind {
	case column.Decimal:
		return r.unscaled(in)
	case column.Row:
		return r.rowValue(in, depth)
	}
	return r.items(in, depth)
}

func (r *avroReading) unscaled(in *avroInput) (any, error) {
	var b []byte
	var err error
	if r.from.kind == avroFixed {
		b, err = in.bytes(int64(r.from.size))
	} else {
		b, err = in.counted()
	}
	if err != nil {
		return nil, err
	}
	if len(b) > 32 { // 38 digits take 16 bytes; some writers pad them
		return nil, fmt.Errorf("a decimal of %d bytes", len(b))
	}
	v := twosComplement(b)
	if r.scale > 0 {
		v.Mul(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(r.scale)), nil))
	}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(r.to.Precision)), nil)
	if v.CmpAbs(limit) >= 0 {
		return nil, fmt.Errorf("found a number with more digits than %s has", r.to.Nullable(true))
	}
	return v, nil
}

// twosComplement is equivalent to Java's new BigInteger(bytes).
func twosComplement(b []byte) *big.Int {
	v := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b)))) //nolint:gosec // small number
	}
	return v
}

func (r *avroReading) rowValue(in *avroInput, depth int) (any, error) {
	row := make([]any, len(r.to.Fields))
	for _, f := range r.fields {
		var err error
		if f.field < 0 {
			err = in.skip(f.writer, depth+1)
		} else {
			row[f.field], err = f.as.boxed(in, depth+1)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, f := range r.absent {
		row[f.column] = f.value
	}
	return row, nil
}

// items decodes an array or map. Memory grows with the number of items, not with the declared
// count.
func (r *avroReading) items(in *avroInput, depth int) (any, error) {
	array := []any{}
	dict := &pairs{}
	for {
		count, _, err := in.block()
		if err != nil {
			return nil, err
		}
		if count == 0 {
			break
		}
		for range count {
			var key []byte
			if r.to.Pairs() {
				if key, err = in.counted(); err != nil {
					return nil, err
				}
			}
			v, err := r.elem.boxed(in, depth+1)
			if err != nil {
				return nil, err
			}
			if r.to.Pairs() {
				dict.add(view(key), v)
			} else {
				array = append(array, v)
			}
		}
	}
	if r.to.Pairs() {
		return &dict.Dict, nil
	}
	return array, nil
}
