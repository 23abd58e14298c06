package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

func init() {
	register(
		maybe("JSON_VALUE", "ss", column.Of(column.String), evalJSONValue).with(preparePath),
		maybe("JSON_QUERY", "ss", column.Of(column.String), evalJSONQuery).with(preparePath),
		maybe("JSON_EXISTS", "ss", column.Of(column.Boolean), evalJSONExists).with(preparePath),
		(&Function{Name: "JSON_STRING", Min: 1, Max: 1, bind: bindJSONString, eval: evalJSONString}).with(prepareJSON),
	)
	register(
		(&Function{Name: "JSON_OBJECT", Max: -1, NullArgs: true, bind: bindJSONObject, eval: evalJSONObject}).with(prepareJSON),
		maybe("JSON", "s", column.Of(column.String), evalJSON),
		(&Function{Name: "JSON_ARRAY", Max: -1, NullArgs: true, bind: bindJSONArray, eval: evalJSONArray}).with(prepareJSON),
	)
	for name, kind := range map[string]string{"IS JSON": "", "IS JSON OBJECT": "{", "IS JSON ARRAY": "[", "IS JSON SCALAR": "scalar"} {
		register(simple(name, "s", column.Of(column.Boolean), isJSON(kind)).with(func(f *Function) {
			bind := f.bind
			f.NullArgs = true // IS JSON is false for NULL
			f.bind = func(args []Node) ([]Node, column.Type, error) {
				bound, t, err := bind(args)
				return bound, t.Nullable(false), err
			}
		}))
	}
}

// JSONOptions are the clauses of the JSON functions (see sql.JSONClauses), with the defaults bound.
type JSONOptions struct {
	Wrapper          string
	OnEmpty, OnError string
	Empty, Error     any // values of DEFAULT, of the result's type
}

// jsonCall is the prepared state of a JSON function.
type jsonCall struct {
	path    []jsonStep
	lax     bool
	options JSONOptions
}

// SetJSON sets the clauses of a JSON function and the type of its result.
func SetJSON(n Node, t column.Type, o JSONOptions) {
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
			return errors.New(f.Name + " expects its path as a literal such as '$.a.b'")
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
	bad := fmt.Errorf("%q is not a JSON path such as '$.a.b[0]'", p)
	rest, lax := p, false // strict is Flink's default
	if mode, behind, ok := strings.Cut(strings.TrimSpace(rest), " "); ok && (strings.EqualFold(mode, "lax") || strings.EqualFold(mode, "strict")) {
		rest, lax = behind, strings.EqualFold(mode, "lax")
	}
	rest = strings.TrimSpace(rest)
	if !strings.HasPrefix(rest, "$") && rest != "" {
		rest = "$." + rest // as in Jayway's JsonPath
	}
	rest, ok := strings.CutPrefix(rest, "$")
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
			name := strings.TrimSpace(rest[1 : 1+end])
			if name == "" && strings.HasPrefix(rest[1+end:], "[") { // $.['a']
				rest = rest[1:]
				continue
			}
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

// javaNumbers formats the numbers within a value like Java's BigDecimal: 3.5e2 is 3.5E+2, and zero
// has no sign.
func javaNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return json.Number(bigDecimalText(string(v)))
	case []any:
		for i, e := range v {
			v[i] = javaNumbers(e)
		}
	case map[string]any:
		for k, e := range v {
			v[k] = javaNumbers(e)
		}
	}
	return v
}

func bigDecimalText(s string) string {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	sign := ""
	if rest, negative := strings.CutPrefix(mantissa, "-"); negative {
		if mantissa = rest; strings.Trim(mantissa, "0.") != "" {
			sign = "-"
		}
	}
	e, err := strconv.Atoi(strings.TrimPrefix(exponent, "+"))
	if err != nil {
		return sign + mantissa // no exponent
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		digits = "0"
	}
	scale := len(fraction) - e
	adjusted := len(digits) - 1 - scale
	switch {
	case scale == 0:
		return sign + digits
	case scale > 0 && adjusted >= -6:
		if len(digits) <= scale {
			digits = strings.Repeat("0", scale-len(digits)+1) + digits
		}
		return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if len(digits) > 1 {
		digits = digits[:1] + "." + digits[1:]
	}
	return fmt.Sprintf("%s%sE%+d", sign, digits, adjusted)
}

var errNotJSON = errors.New("the text is not JSON")

var errNowhere = errors.New("the path does not match")

// find returns the values selected by a path, and whether the path has a wildcard.
func (j *jsonCall) find(text string) (found []any, indefinite bool, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		return nil, false, errNotJSON
	}
	found = []any{javaNumbers(root)}
	for _, s := range j.path {
		var next []any
		for _, v := range found {
			next = s.follow(next, v)
		}
		// After a wildcard, values without such a member are skipped; before it, a missing member
		// is an error in strict mode.
		if len(next) == 0 && !s.wildcard && !indefinite && !j.lax {
			return nil, false, errNowhere
		}
		if len(found) > 0 && s.wildcard {
			indefinite = true
		}
		found = next
	}
	if !indefinite && !j.lax && found[0] == nil {
		return nil, false, errNowhere
	}
	return found, indefinite, nil
}

// follow appends the values to which a step leads from v.
func (s jsonStep) follow(next []any, v any) []any {
	switch v := v.(type) {
	case map[string]any:
		if s.wildcard && s.index < 0 {
			for _, k := range slices.Sorted(maps.Keys(v)) {
				next = append(next, v[k])
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
	return next
}

// value returns the value selected by a path; nil if there is none or it is null. For a path with a
// wildcard it returns an array.
func (j *jsonCall) value(text string) (any, error) {
	found, indefinite, err := j.find(text)
	switch {
	case err != nil && j.lax:
		return nil, nil
	case err != nil:
		return nil, err
	case indefinite:
		return append([]any{}, found...), nil
	case len(found) == 0:
		return nil, nil
	}
	return found[0], nil
}

func scalar(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

func evalJSONValue(n *Call, a []any) (any, error) {
	j := n.Data.(*jsonCall)
	v, err := j.value(a[0].(string))
	switch {
	case err == nil && (v == nil || j.lax && !scalar(v)):
		return j.behave(j.options.OnEmpty, j.options.Empty, errors.New("the path does not match"))
	case err == nil && !scalar(v):
		err = errors.New("the value is not a scalar")
	}
	if err == nil {
		v, err = jsonTo(v, n.T)
	}
	if err != nil {
		return j.behave(j.options.OnError, j.options.Error, err)
	}
	return v, nil
}

// jsonTo converts a scalar to the RETURNING type.
func jsonTo(v any, t column.Type) (any, error) {
	text := scalarText(v)
	if t.Kind == column.Boolean && !strings.EqualFold(text, "true") && !strings.EqualFold(text, "false") {
		return nil, fmt.Errorf("%s is not TRUE or FALSE", text)
	}
	r, err := castBoxed(text, column.Of(column.String), t, nil)
	if err == nil && r == nil {
		err = errRange
	}
	return r, err
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
	v, err := j.value(a[0].(string))
	if err == nil && v != nil {
		_, array := v.([]any)
		if j.options.Wrapper == "UNCONDITIONAL" || j.options.Wrapper == "CONDITIONAL" && !array {
			v = []any{v}
		}
	}
	switch {
	case err == nil && (v == nil || j.lax && scalar(v)):
		return j.behaveAs(n.T, j.options.OnEmpty, errors.New("the path does not match"))
	case err == nil && scalar(v):
		err = errors.New("the value is a scalar: use JSON_VALUE, or WITH WRAPPER")
	}
	var r any
	if err == nil {
		r, err = queryResult(v, n.T)
	}
	if err != nil {
		return j.behaveAs(n.T, j.options.OnError, err)
	}
	return r, nil
}

// behaveAs is like behave, for a result that may be an ARRAY.
func (j *jsonCall) behaveAs(t column.Type, behavior string, reason error) (any, error) {
	if t.Kind == column.Array && behavior == "EMPTY ARRAY" {
		return []any{}, nil
	}
	if t.Kind == column.Array && behavior == "EMPTY OBJECT" {
		return nil, errors.New("EMPTY OBJECT is not an ARRAY")
	}
	return j.behave(behavior, nil, reason)
}

// queryResult returns the text of a value, or the elements of an array if t is one.
func queryResult(v any, t column.Type) (any, error) {
	if t.Kind != column.Array {
		return writeJSON(v)
	}
	in, ok := v.([]any)
	if !ok {
		return nil, errors.New("the value is not an array")
	}
	out := make([]any, len(in))
	for i, e := range in {
		var err error
		switch {
		case e == nil:
		case scalar(e):
			out[i], err = jsonTo(e, *t.Elem)
		case t.Elem.Kind == column.String:
			out[i], err = writeJSON(e)
		default:
			err = fmt.Errorf("an element is no %s", t.Elem)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// writeJSON encodes v, with the keys of objects sorted.
func writeJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func evalJSONExists(n *Call, a []any) (any, error) {
	j := n.Data.(*jsonCall)
	v, err := j.value(a[0].(string))
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
	return v != nil, nil
}

func isJSON(kind string) func(n *Call, a []any) (any, error) {
	return func(_ *Call, a []any) (any, error) {
		s, _ := a[0].(string)
		s = strings.TrimSpace(s)
		if !firstJSON(s) {
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

func bindJSONString(args []Node) ([]Node, column.Type, error) {
	t := args[0].Type()
	if t.Interval() || t.Kind == column.Symbol || t.Kind == column.Date || t.Kind == column.Time {
		return nil, column.Type{}, fmt.Errorf("JSON_STRING expects text, bytes, a number, a boolean, a timestamp or a nested value, got %s", t.Nullable(true))
	}
	return args, column.Of(column.String).Nullable(!t.NotNull), jsonKeys("JSON_STRING", t)
}

// jsonKeys refuses types with keys that JSON does not have.
func jsonKeys(function string, t column.Type) error {
	if !t.Has(func(t column.Type) bool { return t.Pairs() && t.Key.Kind != column.String }) {
		return nil
	}
	return fmt.Errorf("%s can't contain %s: the keys of JSON are strings", function, t.Nullable(true))
}

func evalJSONString(n *Call, a []any) (any, error) {
	v, err := jsonValue(n, a, 0)
	if err != nil {
		return nil, err
	}
	return writeJSON(v)
}

// toJSON converts a value to one that encoding/json can encode.
func toJSON(v any, t column.Type, zone Zone) (any, error) {
	switch v := v.(type) {
	case nil, bool:
		return v, nil
	case *big.Int:
		return json.Number(column.DecimalText(v, t.Scale)), nil
	case float64:
		s := javaDouble(v)                // for FLOAT too
		if strings.ContainsAny(s, "NI") { // JSON has no NaN or Infinity
			return s, nil
		}
		return json.Number(bigDecimalText(s)), nil
	case int64:
		switch {
		case t.Integer():
			return v, nil
		case t.Kind == column.Timestamp:
			return moment.FormatTimestamp(v, 'T'), nil
		case t.Kind == column.TimestampLTZ:
			return moment.FormatTimestamp(v, 'T') + "Z", nil
		}
	case string:
		if t.Kind == column.Bytes {
			return []byte(v), nil
		}
	case []any:
		if t.Kind == column.Row {
			return rowToJSON(v, t, zone)
		}
		out := make([]any, len(v))
		for i, e := range v {
			j, err := toJSON(e, *t.Elem, zone)
			if err != nil {
				return nil, err
			}
			out[i] = j
		}
		return out, nil
	case *column.Dict:
		out := make(map[string]any, len(v.Keys))
		for i, k := range v.Keys {
			j, err := toJSON(v.Values[i], *t.Elem, zone)
			if err != nil {
				return nil, err
			}
			key, ok := k.(string)
			if !ok {
				return nil, errors.New("a key of the MAP is NULL, which JSON does not support")
			}
			out[key] = j
		}
		return out, nil
	}
	return castText(v, t, zone), nil
}

func rowToJSON(v []any, t column.Type, zone Zone) (any, error) {
	out := make(map[string]any, len(v))
	for i, e := range v {
		j, err := toJSON(e, t.Fields[i].Type, zone)
		if err != nil {
			return nil, err
		}
		out[t.Fields[i].Name] = j
	}
	return out, nil
}
