package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"weir.example/weir/internal/column"
)

// jsonBuild is the prepared state of JSON_OBJECT, JSON_ARRAY and JSON_STRING.
type jsonBuild struct {
	onNull string // NULL or ABSENT; "" is the default
	raw    []bool // for each argument, whether its text is JSON
}

// prepareJSON notes which arguments are JSON before they are folded to strings.
func prepareJSON(f *Function) {
	f.prepare = func(n *Call) error {
		j := &jsonBuild{raw: make([]bool, len(n.Args))}
		for i, a := range n.Args {
			if c, ok := a.(*Call); ok {
				j.raw[i] = c.F.Name == "JSON_OBJECT" || c.F.Name == "JSON_ARRAY" || c.F.Name == "JSON"
			}
		}
		n.Data = j
		return nil
	}
}

// SetOnNull sets whether JSON_OBJECT and JSON_ARRAY have members that are NULL: "NULL" or "ABSENT";
// "" keeps the default, which is NULL for objects and ABSENT for arrays.
func SetOnNull(n Node, onNull string) {
	if c, ok := n.(*Call); ok {
		if j, ok := c.Data.(*jsonBuild); ok {
			j.onNull = onNull
		}
	}
}

// keepsNull reports whether members that are NULL are kept.
func keepsNull(n *Call) bool {
	onNull := n.Data.(*jsonBuild).onNull
	return onNull == "NULL" || onNull == "" && n.F.Name == "JSON_OBJECT"
}

func bindJSONObject(args []Node) ([]Node, column.Type, error) {
	t := column.Type{Kind: column.String, NotNull: true}
	if len(args)%2 != 0 {
		return nil, t, errors.New("JSON_OBJECT has a key without a value")
	}
	for i := 0; i < len(args); i += 2 {
		switch k := args[i].Type(); {
		case k.Kind != column.String:
			return nil, t, fmt.Errorf("a key of JSON_OBJECT must be a string, got %s", k.Nullable(true))
		case !k.NotNull:
			return nil, t, errors.New("a key of JSON_OBJECT must not be NULL: write COALESCE(…, '')")
		}
		if err := jsonMember("JSON_OBJECT", args[i+1]); err != nil {
			return nil, t, err
		}
	}
	return args, t, nil
}

func bindJSONArray(args []Node) ([]Node, column.Type, error) {
	t := column.Type{Kind: column.String, NotNull: true}
	for _, a := range args {
		if err := jsonMember("JSON_ARRAY", a); err != nil {
			return nil, t, err
		}
	}
	return args, t, nil
}

// jsonMember checks that a value has a form as JSON.
func jsonMember(function string, n Node) error {
	switch t := n.Type(); {
	case t.Interval(), t.Kind == column.Symbol, t.Kind == column.Date, t.Kind == column.Time:
		return fmt.Errorf("%s can't contain a %s: write CAST(… AS STRING)", function, t.Nullable(true))
	}
	return jsonKeys(function, n.Type())
}

// evalJSON is JSON: the text of the first value in a text, as JSON_OBJECT includes it. An empty
// text is null.
func evalJSON(_ *Call, args []any) (any, error) {
	d := json.NewDecoder(strings.NewReader(args[0].(string)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return writeJSON(javaNumbers(v))
}

// jsonValue converts an argument to a value that encoding/json can encode. The text of JSON_OBJECT,
// JSON_ARRAY and JSON is JSON, not a string.
func jsonValue(n *Call, args []any, i int) (any, error) {
	if n.Data.(*jsonBuild).raw[i] && args[i] != nil {
		return json.RawMessage(args[i].(string)), nil
	}
	return toJSON(args[i], n.Args[i].Type(), n.Zone)
}

func evalJSONObject(n *Call, args []any) (any, error) {
	members := make(map[string]any, len(args)/2)
	for i := 0; i < len(args); i += 2 {
		key, ok := args[i].(string)
		if !ok {
			return nil, errors.New("a key is NULL")
		}
		if args[i+1] == nil && !keepsNull(n) {
			continue
		}
		v, err := jsonValue(n, args, i+1)
		if err != nil {
			return nil, err
		}
		members[key] = v
	}
	return writeJSON(members)
}

func evalJSONArray(n *Call, args []any) (any, error) {
	parts := make([]string, 0, len(args))
	for i, a := range args {
		if a == nil && !keepsNull(n) {
			continue
		}
		v, err := jsonValue(n, args, i)
		if err != nil {
			return nil, err
		}
		text, err := writeJSON(v)
		if err != nil {
			return nil, err
		}
		parts = append(parts, text)
	}
	return "[" + strings.Join(parts, ",") + "]", nil
}
