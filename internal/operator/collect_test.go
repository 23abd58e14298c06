package operator

import (
	"math"
	"testing"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// MIN and MAX of updated rows are values that rows still have: 0.0 and -0.0 are equal, and yet not
// the same.
func TestExtremeIsOfARow(t *testing.T) {
	negative := math.Copysign(0, -1)
	for _, name := range []string{"MIN", "MAX"} {
		for _, stays := range []float64{0, negative} {
			b := column.NewBatch([]column.Type{column.Of(column.Double)})
			for _, f := range []float64{stays, -stays} {
				b.Cols[0].AddFloat(f)
				b.N++
			}
			c := &collector{agg: plan.Agg{Name: name, Retracts: true}, arg: column.Of(column.Double), by: byRank}
			e := elementsOf(state.Memory(), 1, 0, []byte("k"))
			c.put(e, 0, b, 0, 0, 0)
			c.put(e, 0, b, 1, 0, 0)
			c.take(e, 0, b, 1)
			to := &column.Column{Type: column.Of(column.Double)}
			if err := c.collected([]valuePlace{e}, 0, to); err != nil {
				t.Fatal(err)
			}
			if to.Null[0] || math.Signbit(to.F[0]) != math.Signbit(stays) {
				t.Errorf("%s of %v, after %v was retracted, is %v", name, stays, -stays, to.F[0])
			}
		}
	}
}
