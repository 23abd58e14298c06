package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

func init() {
	register(
		maybe("JSON_VALUE", "ss", Of(String), evalJSONValue).with(preparePath),
		maybe("JSON_QUERY", "ss", Of(String), evalJSONQuery).with(preparePath),
		simple("JSON_EXISTS", "ss", Of(Boolean), evalJSONExists).with(preparePath),
		simple("IS JSON", "s", Of(Boolean), isJSON("")), simple("IS JSON OBJECT", "s", Of(Boolean), isJSON("{")),
		simple("IS JSON ARRAY", "s", Of(Boolean), isJSON("[")), simple("IS JSON SCALAR", "s", Of(Boolean), isJSON("scalar")),
	)
}

// JSONOptions are the clauses of the JSON functions (see sql.JSONClauses), with the defaults bound.
type JSONOptions struct {
	Wrapper          string
	OnEmpty, OnError string
	Empty, Error     any // values of DEFAULT, of the result's type
}

// jsonCall is what a JSON function has prepared.
type jsonCall struct {
	path    []jsonStep
	lax     bool
	options JSONOptions
}

// SetJSON gives a JSON function its clauses and the type of its result.
func SetJSON(n Node, t Type, o JSONOptions) {
	c := n.(*Call)
	if j, ok := c.Data.(*jsonCall); ok {
		j.options = o
	}
	c.T = t
}

func preparePath(f *Function) {
	f.prepare = func(n *Call) error {
		k, ok := Fold(n.Args[1]).(*Const)
		if !ok || k.Value == nil {
			return errors.New(f.Name + " wants its path as a literal such as '$.a.b'")
		}
		path, lax, err := parsePath(k.Value.(string))
		n.Data = &jsonCall{path: path, lax: lax}
		return err
	}
}

// jsonStep is .name, [index] or a wildcard.
type jsonStep struct {
	name     string
	index    int // -1 for a name
	wildcard bool
}

func parsePath(p string) ([]jsonStep, bool, error) {
	bad := fmt.Errorf("%q is no JSON path such as '$.a.b[0]'", p)
	rest, lax := p, true
	if s, ok := strings.CutPrefix(rest, "lax "); ok {
		rest = s
	} else if s, ok := strings.CutPrefix(rest, "strict "); ok {
		rest, lax = s, false
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(rest), "$")
	if !ok {
		return nil, false, bad
	}
	var steps []jsonStep
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, ".."):
			return nil, false, fmt.Errorf("%q: deep scans (..) are not supported", p)
		case rest[0] == '.':
			end := strings.IndexAny(rest[1:], ".[")
			if end < 0 {
				end = len(rest) - 1
			}
			name := rest[1 : 1+end]
			if name == "" {
				return nil, false, bad
			}
			steps = append(steps, jsonStep{name: name, index: -1, wildcard: name == "*"})
			rest = rest[1+end:]
		case rest[0] == '[':
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil, false, bad
			}
			inner := strings.TrimSpace(rest[1:end])
			rest = rest[end+1:]
			if inner == "*" {
				steps = append(steps, jsonStep{index: 0, wildcard: true})
				continue
			}
			if len(inner) >= 2 && (inner[0] == '\'' || inner[0] == '"') && inner[len(inner)-1] == inner[0] {
				steps = append(steps, jsonStep{name: inner[1 : len(inner)-1], index: -1})
				continue
			}
			i, err := strconv.Atoi(inner)
			if err != nil || i < 0 {
				return nil, false, fmt.Errorf("%q: only [index], ['name'] and [*] are supported", p)
			}
			steps = append(steps, jsonStep{index: i})
		default:
			return nil, false, bad
		}
	}
	return steps, lax, nil
}

var errNotJSON = errors.New("the text is not JSON")

// find returns what a path leads to.
func (j *jsonCall) find(text string) (found []any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		return nil, errNotJSON
	}
	found = []any{root}
	for _, s := range j.path {
		var next []any
		for _, v := range found {
			switch v := v.(type) {
			case map[string]any:
				if s.wildcard && s.index < 0 {
					for _, e := range v {
						next = append(next, e)
					}
				} else if e, ok := v[s.name]; ok && s.index < 0 {
					next = append(next, e)
				}
			case []any:
				switch {
				case s.wildcard:
					next = append(next, v...)
				case s.index >= 0 && s.index < len(v):
					next = append(next, v[s.index])
				}
			}
		}
		found = next
	}
	if len(found) == 0 && !j.lax {
		return nil, errors.New("the path leads nowhere")
	}
	return found, nil
}

func evalJSONValue(n *Call, a []any) (any, error) {
	j := n.Data.(*jsonCall)
	found, err := j.find(a[0].(string))
	if err == nil && len(found) == 0 {
		return j.behave(j.options.OnEmpty, j.options.Empty, errors.New("the path leads to nothing"))
	}
	if err == nil && len(found) > 1 {
		err = errors.New("the path leads to more than one value")
	}
	if err != nil {
		return j.behave(j.options.OnError, j.options.Error, err)
	}
	switch v := found[0].(type) {
	case nil:
		return j.behave(j.options.OnEmpty, j.options.Empty, errors.New("the value is null"))
	case map[string]any, []any:
		return j.behave(j.options.OnError, j.options.Error, errors.New("the value is no scalar"))
	default:
		r, err := castBoxed(scalarText(v), Of(String), n.T, n.Zone)
		if err != nil {
			return j.behave(j.options.OnError, j.options.Error, err)
		}
		return r, nil
	}
}

func scalarText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return fmt.Sprint(v)
}

func (j *jsonCall) behave(behavior string, value any, reason error) (any, error) {
	switch behavior {
	case "ERROR":
		return nil, reason
	case "DEFAULT":
		return value, nil
	case "EMPTY ARRAY":
		return "[]", nil
	case "EMPTY OBJECT":
		return "{}", nil
	}
	return nil, nil
}

func evalJSONQuery(n *Call, a []any) (any, error) {
	j := n.Data.(*jsonCall)
	found, err := j.find(a[0].(string))
	if err != nil {
		return j.behave(j.options.OnError, nil, err)
	}
	if len(found) == 0 {
		return j.behave(j.options.OnEmpty, nil, errors.New("the path leads to nothing"))
	}
	container := false
	switch found[0].(type) {
	case map[string]any, []any:
		container = len(found) == 1
	}
	out := found[0]
	switch {
	case j.options.Wrapper == "UNCONDITIONAL", j.options.Wrapper == "CONDITIONAL" && !container:
		out = found
	case !container:
		return j.behave(j.options.OnError, nil, errors.New("the value is a scalar: use JSON_VALUE, or WITH WRAPPER"))
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return nil, err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func evalJSONExists(n *Call, a []any) (any, error) {
	j := n.Data.(*jsonCall)
	found, err := j.find(a[0].(string))
	if err != nil {
		switch j.options.OnError {
		case "ERROR":
			return nil, err
		case "TRUE":
			return true, nil
		case "UNKNOWN":
			return nil, nil
		}
		return false, nil
	}
	return len(found) > 0, nil
}

func isJSON(kind string) func(n *Call, a []any) (any, error) {
	return func(_ *Call, a []any) (any, error) {
		s := strings.TrimSpace(a[0].(string))
		if !json.Valid([]byte(s)) {
			return false, nil
		}
		switch kind {
		case "":
			return true, nil
		case "scalar":
			return s[0] != '{' && s[0] != '[', nil
		}
		return strings.HasPrefix(s, kind), nil
	}
}
