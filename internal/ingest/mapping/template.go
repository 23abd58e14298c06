package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// path is a JSON path of keys and indexes: $.a.b[0]["a key"]. It begins at the element of each, or
// with $$ at the message.
type path struct {
	text  string
	root  bool
	steps []step
}

type step struct {
	key   string
	index int // -1 for a key
}

func (p *path) String() string { return p.text }

// find returns the value at the path below v.
func (p *path) find(v any) (any, bool) {
	for _, s := range p.steps {
		if s.index >= 0 {
			list, ok := v.([]any)
			if !ok || s.index >= len(list) {
				return nil, false
			}
			v = list[s.index]
			continue
		}
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = object[s.key]; !ok {
			return nil, false
		}
	}
	return v, v != nil
}

func (p *path) in(s *scope) (any, bool) {
	if p.root {
		return p.find(s.root)
	}
	return p.find(s.element)
}

// scope is what a template refers to.
type scope struct {
	names         captures        // of the topic's wildcards
	root, element any             // the message, and the element of each; nil for a bare value
	sensors       map[string]bool // of the readings so far
}

// template is text with $name, a wildcard of the topic, and JSON paths; $$ without a path is a
// dollar sign.
type template struct {
	text  string
	parts []part
}

// part is text, the name of a wildcard, or a path.
type part struct {
	text string
	name string
	path *path
}

func (t *template) String() string { return t.text }

// path returns the template's path if it consists of nothing else, or nil.
func (t *template) path() *path {
	if len(t.parts) == 1 {
		return t.parts[0].path
	}
	return nil
}

func isName(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func parseTemplate(text string, names map[string]bool) (*template, error) {
	t := &template{text: text}
	literal := ""
	flush := func() {
		if literal != "" {
			t.parts = append(t.parts, part{text: literal})
			literal = ""
		}
	}
	for rest := text; rest != ""; {
		if rest[0] != '$' {
			literal += rest[:1]
			rest = rest[1:]
			continue
		}
		p, after, err := parsePath(rest)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		switch {
		case p != nil:
			flush()
			t.parts = append(t.parts, part{path: p})
		case strings.HasPrefix(rest, "$$"):
			literal += "$"
			after = rest[2:]
		default:
			n := 1
			for n < len(rest) && isName(rest[n]) {
				n++
			}
			name := rest[1:n]
			if name == "" {
				return nil, fmt.Errorf("%q: $ is followed by the name of a wildcard, or by a path such as $.id; $$ is a dollar sign", text)
			}
			if !names[name] {
				return nil, fmt.Errorf("%q: the topic has no wildcard +%s", text, name)
			}
			flush()
			t.parts = append(t.parts, part{name: name})
			after = rest[n:]
		}
		rest = after
	}
	flush()
	if len(t.parts) == 0 {
		return nil, errors.New("it is empty")
	}
	return t, nil
}

// parsePath parses a path at the start of text and returns the rest; nil if there is none.
func parsePath(text string) (*path, string, error) {
	p := &path{}
	rest := text[1:]
	if strings.HasPrefix(rest, "$") {
		p.root, rest = true, rest[1:]
	}
	if rest == "" || rest[0] != '.' && rest[0] != '[' {
		return nil, "", nil
	}
	for rest != "" && len(p.steps) < 100 {
		switch {
		case rest[0] == '[':
			inside, after, ok := bracket(rest)
			if !ok {
				return nil, "", errors.New("[ is followed by an index or by a key in double quotes, and ]")
			}
			p.steps, rest = append(p.steps, inside), after
			continue
		case rest[0] == '.' && len(rest) > 1 && rest[1] == '[':
			rest = rest[1:]
			continue
		case rest[0] == '.' && len(rest) > 1 && isName(rest[1]):
			n := 1
			for n < len(rest) && isName(rest[n]) {
				n++
			}
			p.steps, rest = append(p.steps, step{rest[1:n], -1}), rest[n:]
			continue
		case len(p.steps) == 0:
			return nil, "", errors.New("a path continues with a key, such as $.id")
		}
		break
	}
	p.text = text[:len(text)-len(rest)]
	return p, rest, nil
}

// bracket parses [0] or ["key"].
func bracket(text string) (step, string, bool) {
	if strings.HasPrefix(text, `["`) {
		prefix, err := strconv.QuotedPrefix(text[1:])
		if err != nil {
			return step{}, "", false
		}
		key, err := strconv.Unquote(prefix)
		after := text[1+len(prefix):]
		if err != nil || !strings.HasPrefix(after, "]") {
			return step{}, "", false
		}
		return step{key, -1}, after[1:], true
	}
	number, after, ok := strings.Cut(text[1:], "]")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 {
		return step{}, "", false
	}
	return step{index: n}, after, true
}

// parseWholePath parses text that is a path and nothing else; $ alone is the whole value.
func parseWholePath(text string) (*path, error) {
	if text == "$" || text == "$$" {
		return &path{text: text, root: text == "$$"}, nil
	}
	if strings.HasPrefix(text, "$") {
		if p, rest, err := parsePath(text); err != nil || p != nil && rest == "" {
			return p, err
		}
	}
	return nil, fmt.Errorf("%q is not a path such as $.points", text)
}

// expand returns the text of the template. A value is text, a number or a boolean.
func (t *template) expand(s *scope) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		switch {
		case p.path != nil:
			v, ok := p.path.in(s)
			if !ok {
				return "", fmt.Errorf("there is no value at %s", p.path)
			}
			switch v := v.(type) {
			case string:
				b.WriteString(v)
			case json.Number:
				b.WriteString(v.String())
			case bool:
				b.WriteString(strconv.FormatBool(v))
			default:
				return "", fmt.Errorf("%s is neither text nor a number", p.path)
			}
		case p.name != "":
			b.WriteString(s.names.get(p.name))
		default:
			b.WriteString(p.text)
		}
	}
	return b.String(), nil
}
