package expr

import (
	"testing"

	"weir.example/weir/internal/column"
)

// benchBatch returns 1024 rows in the form in which a source reads them.
func benchBatch() (*column.Batch, *binder) {
	b := &binder{cols: []column.Field{{Name: "id", Type: column.Of(column.BigInt)}, {Name: "amount", Type: column.Of(column.Double)}, {Name: "status", Type: column.Of(column.String)}, {Name: "quantity", Type: column.Of(column.Int)}}}
	batch := column.NewBatch([]column.Type{column.Of(column.BigInt), column.Of(column.Double), column.Of(column.String), column.Of(column.Int)})
	for i := range int64(1024) {
		batch.AddRow([]any{i, float64(i) * 1.25, []string{"paid", "open", "void"}[i%3], i % 17})
	}
	return batch, b
}

func compiled(tb testing.TB, b *binder, text string) *Compiled {
	tb.Helper()
	n, err := b.parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := Compile(Fold(n))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

const benchFilter = "id % 2 = 0 AND amount * 1.5e0 > 100 AND status = 'paid' AND quantity BETWEEN 2 AND 12 AND status LIKE 'p%' AND status IN ('paid', 'open')"

var benchProject = []string{"id + quantity * 2", "amount * 2 - 1", "CASE WHEN status = 'paid' THEN quantity ELSE 0 END", "status", "COALESCE(quantity, 0)", "quantity > 3"}

// BenchmarkFilter measures one row per iteration, as does BenchmarkProject.
func BenchmarkFilter(b *testing.B) {
	batch, binder := benchBatch()
	c := compiled(b, binder, benchFilter)
	b.ReportAllocs()
	kept := 0
	for i := 0; b.Loop(); i++ {
		if c.True(batch, i%batch.N) {
			kept++
		}
	}
}

func BenchmarkProject(b *testing.B) {
	batch, binder := benchBatch()
	out, exprs := projection(b, binder)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%batch.N == 0 {
			out.Reset()
		}
		for j, c := range exprs {
			c.Into(out.Cols[j], batch, i%batch.N)
		}
	}
}

func projection(tb testing.TB, b *binder) (*column.Batch, []*Compiled) {
	exprs := make([]*Compiled, len(benchProject))
	types := make([]column.Type, len(benchProject))
	for i, text := range benchProject {
		exprs[i] = compiled(tb, b, text)
		types[i] = exprs[i].Type
	}
	return column.NewBatch(types), exprs
}

// TestNoAllocations checks that typical expressions don't allocate.
func TestNoAllocations(t *testing.T) {
	batch, binder := benchBatch()
	filter := compiled(t, binder, benchFilter)
	out, exprs := projection(t, binder)
	all := func() {
		out.Reset()
		for row := range batch.N {
			filter.True(batch, row)
			for j, c := range exprs {
				c.Into(out.Cols[j], batch, row)
			}
		}
	}
	all() // grows out to its final capacity
	if n := testing.AllocsPerRun(3, all); n > 0 {
		t.Fatalf("%v allocations for %d rows", n, batch.N)
	}
}
