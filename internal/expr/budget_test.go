package expr

import (
	"strings"
	"testing"

	"weir.example/weir/internal/column"
)

// Each function that multiplies a text refuses a result above the budget before it allocates it.
func TestBudget(t *testing.T) {
	long := &Const{strings.Repeat("a", 1<<20), column.Of(column.String)}
	text := func(s string) Node { return &Const{s, column.Of(column.String)} }
	number := func(n int64) Node { return &Const{n, column.Of(column.BigInt)} }
	twice := func(n Node, by func(Node) Node) Node {
		for range 8 {
			n = by(n)
		}
		return n
	}
	for name, call := range map[string]func() (Node, error){
		"REPLACE":        func() (Node, error) { return Bind("REPLACE", nil, long, text("a"), long) },
		"REPLACE empty":  func() (Node, error) { return Bind("REPLACE", nil, long, text(""), long) },
		"REGEXP_REPLACE": func() (Node, error) { return Bind("REGEXP_REPLACE", nil, long, text("a"), long) },
		"REPEAT":         func() (Node, error) { return Bind("REPEAT", nil, long, number(1000)) },
		"LPAD":           func() (Node, error) { return Bind("LPAD", nil, long, number(1<<40), text("ab")) },
		"RPAD":           func() (Node, error) { return Bind("RPAD", nil, long, number(1<<40), text("ab")) },
		"CONCAT": func() (Node, error) {
			return Bind("CONCAT", nil, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long)
		},
		"CONCAT_WS": func() (Node, error) {
			return Bind("CONCAT_WS", nil, long, long, long, long, long, long, long, long, long, long)
		},
		"SPLIT": func() (Node, error) { return Bind("SPLIT", nil, long, text("a")) },
		"||": func() (Node, error) {
			return twice(long, func(n Node) Node { n, _ = Bind("||", nil, n, n); return n }), nil
		},
		"HEX": func() (Node, error) {
			return twice(long, func(n Node) Node { n, _ = Bind("HEX", nil, n); return n }), nil
		},
		"JSON_QUOTE": func() (Node, error) {
			return twice(text(strings.Repeat(`"`, 1<<18)), func(n Node) Node { n, _ = Bind("JSON_QUOTE", nil, n); return n }), nil
		},
	} {
		n, err := call()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, folded := Fold(n).(*Const); folded {
			t.Errorf("%s: a constant replaces the call", name)
		}
		c := MustCompile(n)
		b := &column.Batch{N: 1}
		if v := c.Box(b, 0); b.Err == nil || !strings.Contains(b.Err.Error(), "the result would ") {
			t.Errorf("%s: %v, %T", name, b.Err, v)
		}
	}
}

// Long results of constants are not kept in the plan, and short ones are.
func TestFoldBudget(t *testing.T) {
	for n, want := range map[int64]bool{maxFolded: true, maxFolded + 1: false} {
		call, err := Bind("REPEAT", nil, &Const{"a", column.Of(column.String)}, &Const{n, column.Of(column.BigInt)})
		if err != nil {
			t.Fatal(err)
		}
		if _, folded := Fold(call).(*Const); folded != want {
			t.Errorf("%d bytes: folded %v", n, folded)
		}
	}
}
