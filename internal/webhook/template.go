package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// Template is the body of a request: a text/template with the function json. Missing values are
// errors.
type Template struct {
	parsed *template.Template
	json   bool
}

// ParseTemplate parses a template. With asJSON, strings are escaped as inside of a JSON string, and
// the result must be JSON. columns are those that .Row may have; nil allows any.
func ParseTemplate(text string, asJSON bool, columns []string) (*Template, error) {
	parsed, err := template.New("body").Option("missingkey=error").Funcs(template.FuncMap{"json": asText}).Parse(text)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	t := &Template{parsed, asJSON}
	if columns != nil {
		for _, of := range parsed.Templates() {
			if of.Tree == nil {
				continue
			}
			if name := unknownColumn(of.Root, columns); name != "" {
				return nil, fmt.Errorf(".Row.%s: there is no column %s", name, name)
			}
		}
	}
	return t, nil
}

// unknownColumn returns the first column of .Row that does not exist.
func unknownColumn(n parse.Node, columns []string) string {
	check := func(ident []string) string {
		if len(ident) > 0 && ident[0] == "$" {
			ident = ident[1:]
		}
		if len(ident) > 1 && ident[0] == "Row" && !slices.Contains(columns, ident[1]) {
			return ident[1]
		}
		return ""
	}
	first := func(all ...parse.Node) string {
		for _, n := range all {
			if name := unknownColumn(n, columns); name != "" {
				return name
			}
		}
		return ""
	}
	branch := func(b *parse.BranchNode) string { return first(b.Pipe, b.List, b.ElseList) }
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			return first(n.Nodes...)
		}
	case *parse.ActionNode:
		return first(n.Pipe)
	case *parse.PipeNode:
		if n == nil {
			return ""
		}
		for _, c := range n.Cmds {
			if name := first(c.Args...); name != "" {
				return name
			}
		}
	case *parse.FieldNode:
		return check(n.Ident)
	case *parse.VariableNode:
		return check(n.Ident)
	case *parse.IfNode:
		return branch(&n.BranchNode)
	case *parse.RangeNode:
		return branch(&n.BranchNode)
	case *parse.WithNode:
		return branch(&n.BranchNode)
	case *parse.TemplateNode:
		return first(n.Pipe)
	}
	return ""
}

// Render executes the template.
func (t *Template) Render(data any) ([]byte, error) {
	var b bytes.Buffer
	if err := t.parsed.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("the template fails: %w", err)
	}
	switch {
	case len(bytes.TrimSpace(b.Bytes())) == 0:
		return nil, errors.New("the result of the template is empty")
	case t.json && !json.Valid(b.Bytes()):
		return nil, errors.New("the result of the template is not JSON: write strings as \"{{.Row.name}}\" or {{json .Row.name}}")
	}
	return b.Bytes(), nil
}

// escaped is a string that templates print as the inside of a JSON string.
type escaped string

// String implements fmt.Stringer.
func (e escaped) String() string {
	text, _ := asText(string(e)) // strings can be encoded
	return text[1 : len(text)-1]
}

// null is NULL in templates: false, and printed as null.
type null bool

// String implements fmt.Stringer.
func (null) String() string { return "null" }

// MarshalJSON implements json.Marshaler.
func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

func asText(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// Values decodes a JSON object to values for templates. With asJSON, strings are escaped when they
// are printed. Numbers keep all their digits.
func Values(object []byte, asJSON bool) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	var all map[string]any
	if err := d.Decode(&all); err != nil {
		return nil, err
	}
	for k, v := range all {
		all[k] = valueOf(v, asJSON)
	}
	return all, nil
}

func valueOf(v any, asJSON bool) any {
	switch v := v.(type) {
	case nil:
		return null(false)
	case string:
		if asJSON {
			return escaped(v)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil && (strconv.FormatFloat(f, 'g', -1, 64) == v.String() || strconv.FormatFloat(f, 'f', -1, 64) == v.String()) {
			return f
		}
	case map[string]any:
		for k, of := range v {
			v[k] = valueOf(of, asJSON)
		}
	case []any:
		for i, of := range v {
			v[i] = valueOf(of, asJSON)
		}
	}
	return v
}
