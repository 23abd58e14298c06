package format

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/twmb/avro"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
	"weir.example/weir/internal/registry"
)

// avroDecoder decodes records written with any schema of the topic into the columns of a table. It
// is not safe for concurrent use.
type avroDecoder struct {
	programs[*avroProgram]
	fields []Field
	reader *avroType
	in     avroInput
}

func newAvroDecoder(fields []Field, o Options, s *Schemas) (Decoder, error) {
	reader, err := avroReader(fields, o)
	if err != nil {
		return nil, err
	}
	d := &avroDecoder{fields: fields, reader: reader}
	d.programs = newPrograms(s, o, d.compile)
	return d, nil
}

// Decode implements Decoder.
func (d *avroDecoder) Decode(data []byte, cols []*column.Column) error {
	p, data, err := d.program(data)
	if err != nil {
		return err
	}
	d.in = avroInput{data: data}
	rows := length(cols)
	if err := p.run(&d.in, cols); err != nil {
		truncate(cols, rows)
		return err
	}
	return nil
}

// avroProgram decodes the records of one writer's schema: first the schema's fields in order, then
// the columns that it has no field for.
type avroProgram struct {
	fields    []avroStep
	fallbacks []avroFallback
}

// avroStep is a field of the writer's schema, which is decoded into a column or skipped.
type avroStep struct {
	name   string
	column int // -1 for none
	writer *avroType
	reader *avroReading
}

// avroFallback is the value of a column that is missing in the writer's schema: the default in the
// reader's schema.
type avroFallback struct {
	column int
	value  any
}

// avroReading describes how to convert a value of the writer's type to a column's type by Avro's
// schema resolution rules.
type avroReading struct {
	from *avroType
	to   column.Type

	null     int          // branch of null in a union of null and from; -1 if there is none
	branches []avroBranch // of any other union
	times    int64        // dates and times: multiplier of the writer's unit
	by       int64        // dates and times: divisor of the writer's unit
	scale    int          // decimals: digits to add

	elem    *avroReading // of an array or map
	fields  []avroNested // of a row
	absent  []avroFallback
	symbols []any // of an enum: strings, or an error
}

type avroBranch struct {
	reading *avroReading
	err     error
}

type avroNested struct {
	writer *avroType
	field  int // index in the row; -1 to skip it
	as     *avroReading
}

func (d *avroDecoder) compile(s *registry.Schema) (*avroProgram, error) {
	if s.Type != registry.Avro {
		return nil, fmt.Errorf("the schema has type %s, but the format is avro-confluent", s.Type)
	}
	writer, err := parseAvro(s)
	if err != nil {
		return nil, err
	}
	if writer = writer.plain(); writer.kind != avroRecord {
		return nil, fmt.Errorf("it is %s, expected a record", writer)
	}
	p := &avroProgram{}
	have := make(map[int]bool)
	for _, f := range writer.fields {
		step := avroStep{name: f.name, column: -1, writer: f.typ}
		if i, field := d.column(f.name); i >= 0 && !have[i] {
			have[i] = true
			step.column = i
			if step.reader, err = avroResolve(f.typ, field.typ, d.fields[i].Type, 0); err != nil {
				return nil, fmt.Errorf("field %s: %w", f.name, err)
			}
		}
		p.fields = append(p.fields, step)
	}
	for i, f := range d.fields {
		if have[i] {
			continue
		}
		fallback, err := d.reader.fallback(f.Name, f.Type)
		if err != nil {
			return nil, err
		}
		p.fallbacks = append(p.fallbacks, avroFallback{i, fallback})
	}
	return p, nil
}

// column returns the column for a writer's field, matched by name or by an alias in the reader's
// schema.
func (d *avroDecoder) column(name string) (int, *avroField) {
	f := d.reader.field(name)
	if f == nil {
		return -1, nil
	}
	return slices.IndexFunc(d.fields, func(c Field) bool { return c.Name == f.name }), f
}

// field returns the reader's field that matches a writer's field name, or nil.
func (t *avroType) field(name string) *avroField {
	for i := range t.fields {
		if t.fields[i].name == name {
			return &t.fields[i]
		}
	}
	for i := range t.fields {
		if slices.Contains(t.fields[i].of.Aliases, name) {
			return &t.fields[i]
		}
	}
	return nil
}

// fallback returns the value of a field that the writer doesn't have: the reader's default.
func (t *avroType) fallback(name string, to column.Type) (any, error) {
	f := t.field(name)
	if f == nil || !f.of.HasDefault {
		if !to.NotNull {
			return nil, nil
		}
		return nil, fmt.Errorf("field %s is missing, has no default, and is NOT NULL", name)
	}
	data, err := f.encodedDefault()
	if err != nil {
		return nil, err
	}
	r, err := avroResolve(f.typ, f.typ, to, 0)
	if err != nil {
		return nil, fmt.Errorf("default of field %s: %w", name, err)
	}
	v, err := r.boxed(&avroInput{data: data}, 0)
	if err == nil && v == nil && to.NotNull {
		err = errors.New("it is null, but the column is NOT NULL")
	}
	if err != nil {
		return nil, fmt.Errorf("default of field %s: %w", name, err)
	}
	return v, nil
}

// encodedDefault returns the Avro encoding of a field's default.
func (f *avroField) encodedDefault() ([]byte, error) {
	s, err := f.of.Type.Schema(avro.WithLaxNames(nil))
	if err == nil {
		var data []byte
		if data, err = s.Encode(f.of.Default); err == nil {
			return data, nil
		}
	}
	return nil, fmt.Errorf("default of field %s: %w", f.name, err)
}

// run appends the values of a record to their columns.
func (p *avroProgram) run(in *avroInput, cols []*column.Column) error {
	for i := range p.fields {
		f := &p.fields[i]
		var err error
		if f.column < 0 || cols[f.column] == nil {
			err = in.skip(f.writer, 0)
		} else {
			err = f.reader.into(in, cols[f.column])
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	if in.at != len(in.data) {
		return fmt.Errorf("%d bytes follow the last field", len(in.data)-in.at)
	}
	for _, f := range p.fallbacks {
		if c := cols[f.column]; c != nil {
			c.Add(f.value)
		}
	}
	return nil
}

// into appends one value to a column, boxing it only if the column's class is Boxes.
func (r *avroReading) into(in *avroInput, c *column.Column) error {
	if r.null >= 0 {
		branch, err := in.long()
		if err != nil {
			return err
		}
		if branch == int64(r.null) {
			c.AddNull()
			return nil
		}
		if branch != int64(1-r.null) {
			return fmt.Errorf("branch %d of a union of two", branch)
		}
	}
	switch {
	case r.branches != nil:
		other, err := r.branch(in)
		if err != nil {
			return err
		}
		if other == nil {
			c.AddNull()
			return nil
		}
		return other.into(in, c)
	case r.from.kind == avroNull:
		c.AddNull()
		return nil
	}
	switch c.Type.Class() {
	case column.Ints:
		v, err := r.int(in)
		if err != nil {
			return err
		}
		c.AddInt(v)
	case column.Floats:
		v, err := r.float(in)
		if err != nil {
			return err
		}
		c.AddFloat(v)
	case column.Texts:
		v, err := r.text(in)
		if err != nil {
			return err
		}
		c.AddText(v)
	default:
		if c.Fields != nil {
			return r.rowInto(in, c)
		}
		v, err := r.value(in, 0)
		if err != nil {
			return err
		}
		c.Add(v)
	}
	return nil
}

// rowInto appends a row that is stored by fields, and skips the fields that nobody reads. After an
// error, the columns of fields may have one value more than the row.
func (r *avroReading) rowInto(in *avroInput, c *column.Column) error {
	for _, f := range r.fields {
		var err error
		if f.field < 0 || c.Fields[f.field] == nil {
			err = in.skip(f.writer, 1)
		} else {
			err = f.as.into(in, c.Fields[f.field])
		}
		if err != nil {
			return err
		}
	}
	for _, f := range r.absent {
		if to := c.Fields[f.column]; to != nil {
			to.Add(f.value)
		}
	}
	c.Null = append(c.Null, false)
	return nil
}

// branch reads the branch index of a union; a nil result means null.
func (r *avroReading) branch(in *avroInput) (*avroReading, error) {
	n, err := in.long()
	if err != nil {
		return nil, err
	}
	if n < 0 || n >= int64(len(r.branches)) {
		return nil, fmt.Errorf("branch %d of a union of %d", n, len(r.branches))
	}
	b := r.branches[n]
	return b.reading, b.err
}

func (r *avroReading) int(in *avroInput) (int64, error) {
	if r.from.kind == avroBoolean {
		return in.boolean()
	}
	v, err := in.long()
	if err != nil {
		return 0, err
	}
	if r.from.kind == avroInt && v != int64(int32(v)) { //nolint:gosec // range check
		return 0, fmt.Errorf("found %d, expected an int", v)
	}
	switch r.to.Kind {
	case column.TinyInt, column.SmallInt:
		if limit := intRange[r.to.Kind]; v > limit || v < -limit-1 {
			return 0, fmt.Errorf("found %d, expected %s", v, r.to.Nullable(true))
		}
		return v, nil
	case column.Time:
		if v /= r.by; v < 0 || v >= 86_400_000 {
			return 0, fmt.Errorf("found %d ms, which is not a time of day", v)
		}
		return v, nil
	case column.Date:
		if !column.Fits(v, column.Date) {
			return 0, fmt.Errorf("found day %d, which is more than 290,000 years away", v)
		}
		return v, nil
	case column.Timestamp, column.TimestampLTZ:
		if r.times > 1 && (v > math.MaxInt64/r.times || v < math.MinInt64/r.times) {
			return 0, fmt.Errorf("found %d ms, which does not fit in %s", v, r.to.Nullable(true))
		}
		if r.by > 1 {
			v = moment.FloorDiv(v, r.by)
		}
		if v *= r.times; !column.Fits(v, r.to.Kind) {
			return 0, fmt.Errorf("found %d µs, which is more than 290,000 years away", v)
		}
		return moment.Truncate(v, r.to.Precision), nil
	}
	return v, nil
}

func (r *avroReading) float(in *avroInput) (float64, error) {
	switch r.from.kind {
	case avroDouble:
		u, err := in.fixed64()
		return math.Float64frombits(u), err
	case avroFloat:
		u, err := in.fixed32()
		return float64(math.Float32frombits(u)), err
	}
	v, err := in.long()
	if r.to.Kind == column.Float {
		return float64(float32(v)), err
	}
	return float64(v), err
}

func (r *avroReading) text(in *avroInput) (string, error) {
	switch r.from.kind {
	case avroEnum:
		n, err := in.long()
		if err != nil {
			return "", err
		}
		if n < 0 || n >= int64(len(r.symbols)) {
			return "", fmt.Errorf("symbol %d of an enum of %d", n, len(r.symbols))
		}
		if err, ok := r.symbols[n].(error); ok {
			return "", err
		}
		return r.symbols[n].(string), nil //nolint:forcetypeassert // symbols are strings or errors
	case avroFixed:
		b, err := in.bytes(int64(r.from.size))
		return view(b), err
	}
	b, err := in.counted()
	if err != nil || r.to.Kind == column.Bytes {
		return view(b), err
	}
	s := view(b)
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD") // as in Java
	}
	return s, nil
}
