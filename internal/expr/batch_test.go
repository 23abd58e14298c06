package expr

import (
	"slices"
	"testing"

	"weir.example/weir/internal/column"
)

// TestBatchKeepsRows checks that rows survive every way of adding them to a batch.
func TestBatchKeepsRows(t *testing.T) {
	for seed := range uint64(50) {
		g := newGenerator(seed)
		b := g.batch(10)
		copied := column.NewBatch(b.Types())
		for row := range b.N {
			for i, c := range copied.Cols {
				c.AddFrom(b.Cols[i], row)
			}
			copied.N++
		}
		for _, c := range copied.Cols {
			c.AddNull()
			c.Truncate(c.Len() - 1)
		}
		for row := range b.N {
			if !same(b.Row(row), copied.Row(row)) {
				t.Fatalf("seed %d: row %d: %v, copied %v", seed, row, b.Row(row), copied.Row(row))
			}
		}
		copied.Reset()
		copied.AddRow(b.Row(3))
		if copied.N != 1 || !same(b.Row(3), copied.Row(0)) {
			t.Fatalf("seed %d: after Reset %v, want %v", seed, copied.Row(0), b.Row(3))
		}
	}
}

func TestUnboxedAdds(t *testing.T) {
	b := column.NewBatch([]column.Type{column.Of(column.Int), column.Of(column.Double), column.Of(column.String), column.OfDecimal(3, 1)})
	b.Cols[0].AddInt(5)
	b.Cols[1].AddFloat(1.5)
	b.Cols[2].AddText("a")
	b.Cols[3].AddNull()
	if got := b.Row(0); !same(got, []any{int64(5), 1.5, "a", nil}) {
		t.Fatal(got)
	}
}

func TestCompareBoxedIsAnOrder(t *testing.T) {
	for seed := range uint64(200) {
		g := newGenerator(seed)
		for _, typ := range g.types {
			if typ.Pairs() {
				continue
			}
			all := g.values(typ, 12)
			slices.SortFunc(all, column.CompareBoxed)
			for i := range all {
				for j := i; j < len(all); j++ {
					if column.CompareBoxed(all[i], all[j]) > 0 || column.CompareBoxed(all[j], all[i]) < 0 {
						t.Fatalf("seed %d: %s: %v and %v stand in the wrong order", seed, typ, all[i], all[j])
					}
				}
			}
		}
	}
}

// TestNodes checks that an expression equals its rebuilt copy and differs from another.
func TestNodes(t *testing.T) {
	b := &binder{cols: []column.Field{{Name: "a", Type: column.Of(column.Int)}, {Name: "b", Type: column.Of(column.Int)}}}
	parse := func(text string) Node {
		n, err := b.parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := parse("a + b * 2 > 3 AND a IS NOT NULL")
	if !SameNode(n, Replace(n, func(n Node) Node { return n })) || SameNode(n, parse("a + b * 2 > 4 AND a IS NOT NULL")) {
		t.Fatal("SameNode")
	}
	if got := Columns(n); len(got) != 2 || !got[0] || !got[1] {
		t.Fatal(got)
	}
	if got, want := n.String(), "(((a + (b * 2)) > 3) AND (a IS NOT NULL))"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	for text, want := range map[string]string{
		"a > 1 AND 1 = 1": "(a > 1)", "1 = 2 AND a > 1": "FALSE", "a > 1 OR 1 = 1": "TRUE", "1 = 2 OR a > 1": "(a > 1)", "a + (1 + 2)": "(a + 3)", "a / 0": "(a / 0)", "1 / 0": "(1 / 0)",
	} {
		if got := Fold(parse(text)).String(); got != want {
			t.Errorf("%s folds to %s, want %s", text, got, want)
		}
	}
}
