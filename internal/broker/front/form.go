package front

import (
	"fmt"
	"math"
	"strings"
	"sync"
)

// form is the wire form of one API's message in a range of versions. Its program is a list of items
// in wire order:
//
//	12          12 bytes of fields with fixed sizes
//	s s?        a string, a nullable string
//	b b?        bytes or records, nullable bytes
//	[…] […]?    an array of the item inside, a nullable array
//	(…) (…)?    a struct, a nullable struct
//	<0:s 3:8>   the known tagged fields of the struct that ends here
//
// A flexible form has compact lengths (KIP-482), and each of its structs ends with tagged fields,
// which may include unknown ones.
type form struct {
	key      int16
	name     string
	from, to int16 // versions
	flexible bool
	program  string
}

// shape is a compiled form, or a struct within one.
type shape struct {
	ops   []op
	tags  map[uint32]op
	least int // bytes of the shortest encoding, without tagged fields
}

type op struct {
	kind     kind
	nullable bool
	size     int    // opFixed: bytes
	elem     *shape // opStruct, opArray
	tagged   bool   // elem ends with tagged fields: it is a struct of a flexible form
}

type kind uint8

const (
	opFixed kind = iota
	opString
	opBytes
	opArray
	opStruct
)

// least returns the bytes of an item's shortest encoding.
func (o op) least(flexible bool) int {
	switch {
	case o.kind == opFixed:
		return o.size
	case o.kind == opStruct && o.nullable:
		return 1
	case o.kind == opStruct:
		return o.elemLeast()
	case flexible:
		return 1
	case o.kind == opString:
		return 2
	default:
		return 4
	}
}

func (o op) elemLeast() int {
	if o.tagged {
		return o.elem.least + 1
	}
	return o.elem.least
}

// versions has the compiled forms of one API.
type versions struct {
	name     string
	from, to int16
	forms    []*compiled // of version from, from+1, …
}

type compiled struct {
	flexible bool
	root     op // a struct
}

// served has the forms of all APIs that the broker serves, by API key.
var served = sync.OnceValue(func() map[int16]*versions { return compileAll(requestForms) })

func compileAll(forms []form) map[int16]*versions {
	all := make(map[int16]*versions)
	for _, f := range forms {
		v := all[f.key]
		if v == nil {
			v = &versions{name: f.name, from: f.from}
			all[f.key] = v
		}
		c := &compiled{f.flexible, f.compile()}
		for range f.to - f.from + 1 {
			v.forms = append(v.forms, c)
		}
		v.to = f.to
	}
	return all
}

// at returns the form of a version, or nil.
func (v *versions) at(version int16) *compiled {
	if v == nil || version < v.from || version > v.to {
		return nil
	}
	return v.forms[version-v.from]
}

// compile translates the program. It panics if that is malformed, which a test excludes.
func (f form) compile() op {
	p := parser{text: f.program, flexible: f.flexible}
	root := op{kind: opStruct, elem: p.members(0), tagged: f.flexible}
	if p.text != "" {
		panic(fmt.Sprintf("%s: unexpected %q", f.name, p.text))
	}
	return root
}

type parser struct {
	text     string // rest of the program
	flexible bool
}

func (p *parser) accept(c string) bool {
	rest, ok := strings.CutPrefix(p.text, c)
	p.text = rest
	return ok
}

// members parses the items of a struct up to end, or to the end of the program if end is 0.
func (p *parser) members(end byte) *shape {
	s := new(shape)
	for p.accept(" ") || p.text != "" && p.text[0] != end {
		if p.accept("<") {
			s.tags = make(map[uint32]op)
			for !p.accept(">") {
				p.accept(" ")
				tag := p.number()
				p.accept(":")
				s.tags[uint32(tag)] = p.item() //nolint:gosec // a small constant
			}
			continue
		}
		o := p.item()
		s.least += o.least(p.flexible)
		s.ops = append(s.ops, o)
	}
	return s
}

func (p *parser) item() op {
	var o op
	switch {
	case p.accept("s"):
		o.kind = opString
	case p.accept("b"):
		o.kind = opBytes
	case p.accept("["):
		o.kind = opArray
		if elem := p.item(); elem.kind == opStruct && !elem.nullable {
			o.elem, o.tagged = elem.elem, elem.tagged
		} else {
			o.elem = &shape{ops: []op{elem}, least: elem.least(p.flexible)}
		}
		p.accept("]")
	case p.accept("("):
		o.kind, o.tagged = opStruct, p.flexible
		o.elem = p.members(')')
		p.accept(")")
	default:
		return op{kind: opFixed, size: p.number()}
	}
	o.nullable = p.accept("?")
	return o
}

func (p *parser) number() int {
	n, digits := 0, 0
	for digits < len(p.text) && p.text[digits] >= '0' && p.text[digits] <= '9' && n < math.MaxInt16 {
		n = n*10 + int(p.text[digits]-'0')
		digits++
	}
	if digits == 0 {
		panic(fmt.Sprintf("expected a number at %q", p.text))
	}
	p.text = p.text[digits:]
	return n
}
