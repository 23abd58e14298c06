package format

import (
	"errors"
	"fmt"

	"weir.example/weir/internal/column"
)

// jsonObject locates the fields of an object: of the document, or of a ROW that is stored by
// fields. A field that is not read is validated, but not converted: it may have any value.
type jsonObject struct {
	fields []column.Field
	index  map[string]int

	// order is the sequence of fields in the previous object: most documents of a topic have their
	// fields in the same order.
	order []guess
	seen  []bool
	vals  []span
	// inner has the object of each ROW that is stored by fields, and located whether the field was
	// one in this document.
	inner   []*jsonObject
	located []bool
}

// guess is the field expected at a position. field is -1 if there is no such field.
type guess struct {
	text  string // "name": in its usual spelling; "" if the name needs escapes
	name  string
	field int
}

// span is the position of a field's value in the document.
type span struct{ from, to int }

func newJSONObject(fields []column.Field) *jsonObject {
	n := len(fields)
	o := &jsonObject{
		fields: fields, index: make(map[string]int, n),
		seen: make([]bool, n), vals: make([]span, n), inner: make([]*jsonObject, n), located: make([]bool, n),
	}
	for i, f := range fields {
		o.index[f.Name] = i
	}
	return o
}

// locate validates an object and locates the fields of its columns.
func (d *jsonDecoder) locate(o *jsonObject, cols []*column.Column) error {
	clear(o.seen)
	d.at++
	d.space()
	if d.at < len(d.data) && d.data[d.at] == '}' {
		d.at++
		return nil
	}
	for place := 0; ; place++ {
		field, err := d.key(o, place)
		if err != nil {
			return err
		}
		d.space()
		if field >= 0 && cols[field] != nil {
			err = d.member(o, field, cols[field])
		} else {
			err = d.skip()
		}
		if err != nil {
			return err
		}
		d.space()
		switch {
		case d.at == len(d.data):
			return d.unexpected("a comma or }")
		case d.data[d.at] == ',':
			d.at++
			d.space()
		case d.data[d.at] == '}':
			d.at++
			return nil
		default:
			return d.unexpected("a comma or }")
		}
	}
}

// member locates the value of a field, and those of its own fields if it is stored by fields.
func (d *jsonDecoder) member(o *jsonObject, field int, c *column.Column) (err error) {
	from := d.at
	o.located[field] = c.Fields != nil && from < len(d.data) && d.data[from] == '{'
	if o.located[field] {
		if d.depth++; d.depth > maxDepth {
			return errJSONDepth
		}
		if o.inner[field] == nil {
			o.inner[field] = newJSONObject(c.Type.Fields)
		}
		err = d.locate(o.inner[field], c.Fields)
		d.depth--
	} else {
		err = d.skip()
	}
	o.seen[field], o.vals[field] = true, span{from, d.at}
	return err
}

// key scans the name of a field and the colon, and returns the field.
func (d *jsonDecoder) key(o *jsonObject, place int) (field int, err error) {
	if place < len(o.order) {
		g := &o.order[place]
		if rest := d.data[d.at:]; g.text != "" && len(rest) >= len(g.text) && string(rest[:len(g.text)]) == g.text {
			d.at += len(g.text)
			return g.field, nil
		}
	}
	name, err := d.name()
	if err != nil {
		return 0, err
	}
	field = o.lookup(name, place)
	d.space()
	if d.at == len(d.data) || d.data[d.at] != ':' {
		return 0, d.unexpected("a colon")
	}
	d.at++
	return field, nil
}

// lookup returns the field with a name, trying the one seen at this position in the previous
// object before the index.
func (o *jsonObject) lookup(name []byte, place int) int {
	if place < len(o.order) && o.order[place].name == string(name) {
		return o.order[place].field
	}
	field, ok := o.index[string(name)]
	if !ok {
		field = -1
	}
	g := guess{name: string(name), field: field}
	if text := appendText(nil, g.name); len(text) == len(name)+len(`""`) {
		g.text = string(append(text, ':'))
	}
	switch {
	case place < len(o.order):
		o.order[place] = g
	case place == len(o.order) && place < 1000:
		o.order = append(o.order, g)
	}
	return field
}

// field appends the value of a located field to its column. On error it appends nothing.
func (d *jsonDecoder) field(o *jsonObject, i int, c *column.Column) error {
	if !o.seen[i] {
		if d.missing {
			return errors.New("is missing")
		}
		c.AddNull()
		return nil
	}
	v := d.data[o.vals[i].from:o.vals[i].to]
	switch {
	case c.Fields == nil:
		return d.value(v, c)
	case o.located[i]:
		return d.row(o.inner[i], c)
	case v[0] == 'n':
		c.AddNull()
		return nil
	}
	return wanted(v, c.Type)
}

// row appends a row that is stored by fields. With ignore-parse-errors, a field that can't be
// parsed becomes NULL without affecting its siblings.
func (d *jsonDecoder) row(o *jsonObject, c *column.Column) error {
	rows := c.Len()
	for i, f := range c.Fields {
		if f == nil {
			continue
		}
		err := d.field(o, i, f)
		switch {
		case err == nil:
		case d.ignore:
			f.AddNull()
			d.dropped.Values++
		default:
			truncate(c.Fields[:i], rows)
			return fmt.Errorf("%s: %w", o.fields[i].Name, err)
		}
	}
	c.Null = append(c.Null, false)
	return nil
}
