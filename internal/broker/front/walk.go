package front

import (
	"encoding/binary"
	"errors"
	"math"
)

// Errors of the walker.
var (
	errShort    = errors.New("a length or count exceeds the bytes of the request")
	errTrailing = errors.New("bytes remain after the last field")
	errNull     = errors.New("null in a field that must not be null")
	errVarint   = errors.New("a variable-length number exceeds 32 bits")
	errTag      = errors.New("a tagged field has a length other than its own, or is out of order")
	errItems    = errors.New("too many array elements and tagged fields")
)

// walker follows a message's form over its bytes. It allocates nothing, and takes time in
// proportion to the bytes present, whatever lengths and counts they claim. Kafka's definitions are
// not recursive, so its own recursion is bounded by the form.
type walker struct {
	src      []byte
	flexible bool
	items    int // array elements and tagged fields so far
	maxItems int
	bytes    func([]byte) // called with each field of bytes; may be nil
}

// walk checks that body is a complete message of this form without trailing bytes, and returns the
// number of its array elements and tagged fields.
func (c *compiled) walk(body []byte, maxItems int) (items int, err error) {
	w := walker{src: body, flexible: c.flexible, maxItems: maxItems}
	if err := w.item(&c.root); err != nil {
		return w.items, err
	}
	if len(w.src) > 0 {
		return w.items, errTrailing
	}
	return w.items, nil
}

// structure walks a struct's fields.
func (w *walker) structure(s *shape, tagged bool) error {
	for i := range s.ops {
		if err := w.item(&s.ops[i]); err != nil {
			return err
		}
	}
	if tagged {
		return w.tags(s.tags)
	}
	return nil
}

func (w *walker) item(o *op) error {
	switch o.kind {
	case opFixed:
		return w.skip(o.size)
	case opStruct:
		if o.nullable {
			if len(w.src) == 0 {
				return errShort
			}
			null := int8(w.src[0]) < 0 //nolint:gosec // a sign is what is wanted
			w.src = w.src[1:]
			if null {
				return nil
			}
		}
		return w.structure(o.elem, o.tagged)
	case opArray:
		return w.array(o)
	}
	n, err := w.length(o)
	if err != nil || n <= 0 {
		return err
	}
	if o.kind == opBytes && w.bytes != nil && n <= len(w.src) {
		w.bytes(w.src[:n])
	}
	return w.skip(n)
}

func (w *walker) array(o *op) error {
	n, err := w.length(o)
	if err != nil || n <= 0 {
		return err
	}
	// An element without bytes does not exist, so this bounds the count by the bytes left.
	if n > len(w.src)/max(o.elemLeast(), 1) {
		return errShort
	}
	if w.items += n; w.items > w.maxItems {
		return errItems
	}
	if ops := o.elem.ops; len(ops) == 1 && ops[0].kind == opFixed && !o.tagged {
		return w.skip(n * ops[0].size)
	}
	for range n {
		if err := w.structure(o.elem, o.tagged); err != nil {
			return err
		}
	}
	return nil
}

// length reads the length of a string, of bytes or of an array; -1 is null.
func (w *walker) length(o *op) (int, error) {
	var n int
	switch {
	case w.flexible:
		u, err := w.uvarint()
		if err != nil {
			return 0, err
		}
		n = int(u) - 1
	case o.kind == opString:
		if len(w.src) < 2 {
			return 0, errShort
		}
		n = int(int16(binary.BigEndian.Uint16(w.src))) //nolint:gosec // two's complement
		w.src = w.src[2:]
	default:
		if len(w.src) < 4 {
			return 0, errShort
		}
		n = int(int32(binary.BigEndian.Uint32(w.src))) //nolint:gosec // two's complement
		w.src = w.src[4:]
	}
	if n < -1 || n > math.MaxInt32 || o.kind == opString && n > math.MaxInt16 { // of a string even if compact, as in Kafka
		return 0, errShort
	}
	if n == -1 && !o.nullable {
		return 0, errNull
	}
	return n, nil
}

// tags walks the tagged fields at the end of a struct: a count, then for each its tag and its
// length, with tags in ascending order.
func (w *walker) tags(known map[uint32]op) error {
	n, err := w.uvarint()
	if err != nil || n == 0 {
		return err
	}
	if int64(n) > int64(len(w.src)/2) { // each takes at least two bytes
		return errShort
	}
	if w.items += int(n); w.items > w.maxItems {
		return errItems
	}
	last := int64(-1)
	for range n {
		tag, err := w.uvarint()
		if err != nil {
			return err
		}
		size, err := w.uvarint()
		if err != nil {
			return err
		}
		if int64(tag) <= last {
			return errTag
		}
		last = int64(tag)
		if int64(size) > int64(len(w.src)) {
			return errShort
		}
		if o, ok := known[tag]; ok {
			field := walker{src: w.src[:size], flexible: true, items: w.items, maxItems: w.maxItems}
			if err := field.item(&o); err != nil {
				return err
			}
			if len(field.src) > 0 {
				return errTag
			}
			w.items = field.items
		}
		w.src = w.src[size:]
	}
	return nil
}

func (w *walker) skip(n int) error {
	if n > len(w.src) {
		return errShort
	}
	w.src = w.src[n:]
	return nil
}

// uvarint reads an unsigned variable-length number of at most 32 bits.
func (w *walker) uvarint() (uint32, error) {
	if len(w.src) > 0 && w.src[0] < 0x80 { // nearly always
		n := uint32(w.src[0])
		w.src = w.src[1:]
		return n, nil
	}
	n, size := binary.Uvarint(w.src)
	if size == 0 {
		return 0, errShort
	}
	if size < 0 || size > 5 || n > math.MaxUint32 {
		return 0, errVarint
	}
	w.src = w.src[size:]
	return uint32(n), nil
}
