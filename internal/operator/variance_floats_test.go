package operator

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"weir.example/weir/internal/column"
)

// A variance from which values have been retracted equals that of the values that remain, whatever
// was there in between.
func TestVarianceOfUpdatedFloats(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	value := func() float64 {
		switch r.IntN(8) {
		case 0:
			return math.Ldexp(r.Float64(), r.IntN(1900)-1000)
		case 1:
			return oneOfFloats(r, math.NaN(), math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, 0, math.Copysign(0, -1))
		}
		return math.Round(r.NormFloat64()*1e4) / 100
	}
	for _, v := range []variance{{sample: true}, {root: true}} {
		acc := floatVariance{v}
		var state []byte
		var values []float64
		for range 600 {
			c := &column.Column{Type: column.Of(column.Double)}
			if i := r.IntN(40); i < len(values) {
				c.AddFloat(values[i])
				values = slices.Delete(values, i, i+1)
				state = acc.retract(nil, &reader{b: state}, c, 0)
			} else {
				c.AddFloat(value())
				values = append(values, c.F[0])
				state = acc.add(nil, &reader{b: state}, c, 0)
			}
			to := &column.Column{Type: column.Of(column.Double)}
			acc.result(&reader{b: state}, to)
			want, null := varianceOf(values, v)
			if got := to.F[0]; to.Null[0] != null || !null && got != want && !(got != got && want != want) {
				t.Fatalf("%+v of %v: got %v (NULL %t), want %v (NULL %t)", v, values, got, to.Null[0], want, null)
			}
			if len(values) == 0 && len(state) > 8 {
				t.Fatalf("the state of no values has %d bytes", len(state))
			}
		}
	}
}

func oneOfFloats(r *rand.Rand, all ...float64) float64 { return all[r.IntN(len(all))] }

// varianceOf computes by the definition, from the distances to the mean.
func varianceOf(values []float64, v variance) (result float64, null bool) {
	over := int64(len(values))
	if v.sample {
		over--
	}
	if over <= 0 {
		return 0, true
	}
	sum := new(big.Rat)
	for _, x := range values {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return math.NaN(), false
		}
		sum.Add(sum, new(big.Rat).SetFloat64(x))
	}
	mean, total := sum.Quo(sum, new(big.Rat).SetInt64(int64(len(values)))), new(big.Rat)
	for _, x := range values {
		d := new(big.Rat).Sub(new(big.Rat).SetFloat64(x), mean)
		total.Add(total, d.Mul(d, d))
	}
	exact := new(big.Float).SetPrec(500).SetRat(total.Quo(total, new(big.Rat).SetInt64(over)))
	if v.root {
		exact.Sqrt(exact)
	}
	result, _ = exact.Float64()
	return result, false
}
