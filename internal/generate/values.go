package generate

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/moment"
	"weir.example/weir/internal/plan"
)

// maxTimes is how often a value can be in a multiset.
const maxTimes = 10

// value returns the value of a column in row n, generated at now, in microseconds since 1970.
func value(g *plan.Generated, zone expr.Zone, n, now int64, random *rand.Rand) any {
	switch {
	case g.Sequence:
		return counted(g.Type, g.Start+n)
	case g.NullRate > 0 && random.Float64() < g.NullRate:
		return nil
	}
	part := func(of *plan.Generated) any { return value(of, zone, n, now, random) }
	switch g.Type.Kind {
	case column.Boolean:
		return random.IntN(2) == 1
	case column.TinyInt, column.SmallInt, column.Int, column.BigInt:
		return between(g.Low, g.High, random)
	case column.Float:
		return float64(float32(g.Min + random.Float64()*(g.Max-g.Min)))
	case column.Double:
		return g.Min + random.Float64()*(g.Max-g.Min)
	case column.Decimal:
		return decimal(g, random)
	case column.String:
		return string(digits("0123456789abcdef", length(g, random), random))
	case column.Bytes:
		b := make([]byte, length(g, random))
		for i := range b {
			b[i] = byte(random.IntN(256))
		}
		return string(b)
	case column.Date, column.Time, column.Timestamp, column.TimestampLTZ:
		return clock(g, zone, now, random)
	case column.Array:
		all := make([]any, g.Length)
		for i := range all {
			all[i] = part(g.Value)
		}
		return all
	case column.Map:
		d := &column.Dict{}
		for range g.Length {
			if k := part(g.Key); d.Get(k) == nil {
				d.Keys, d.Values = append(d.Keys, k), append(d.Values, part(g.Value))
			}
		}
		return d
	case column.Multiset:
		d := &column.Dict{}
		for range g.Length {
			if k := part(g.Key); d.Get(k) == nil {
				d.Keys, d.Values = append(d.Keys, k), append(d.Values, 1+random.Int64N(maxTimes))
			}
		}
		return d
	case column.Row:
		all := make([]any, len(g.Fields))
		for i := range g.Fields {
			all[i] = part(&g.Fields[i])
		}
		return all
	}
	return nil
}

// clock returns the time at which a row is generated, or an earlier one.
func clock(g *plan.Generated, zone expr.Zone, now int64, random *rand.Rand) any {
	if past := g.MaxPast.Microseconds(); past > 0 {
		now -= random.Int64N(past + 1)
	}
	unit := int64(1)
	for range 6 - min(6, g.Type.Precision) {
		unit *= 10
	}
	switch local := expr.ToLocal(now, zone); g.Type.Kind {
	case column.TimestampLTZ:
		return moment.FloorDiv(now, unit) * unit
	case column.Timestamp:
		return moment.FloorDiv(local, unit) * unit
	case column.Date:
		return moment.FloorDiv(local, moment.Day)
	default: // TIME, in milliseconds
		unit = max(unit, moment.Millisecond)
		return moment.FloorDiv(moment.FloorMod(local, moment.Day), unit) * unit / moment.Millisecond
	}
}

func between(low, high int64, random *rand.Rand) int64 {
	width := uint64(high) - uint64(low) //nolint:gosec // wraps around as it should
	if width == math.MaxUint64 {
		return int64(random.Uint64()) //nolint:gosec // any value
	}
	return low + int64(random.Uint64N(width+1)) //nolint:gosec // likewise
}

func length(g *plan.Generated, random *rand.Rand) int {
	if g.VarLength {
		return 1 + random.IntN(g.Length)
	}
	return g.Length
}

func digits(from string, n int, random *rand.Rand) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from[random.IntN(len(from))]
	}
	return b
}

// decimal returns a decimal between the minimum and the maximum, with all digits of its type.
func decimal(g *plan.Generated, random *rand.Rand) any {
	scaled := func(f float64) *big.Int {
		x := new(big.Float).SetPrec(200).SetFloat64(f)
		i, _ := x.Mul(x, new(big.Float).SetInt(column.Power10(g.Type.Scale))).Int(nil)
		return i
	}
	low, high := scaled(g.Min), scaled(g.Max)
	most := new(big.Int).Sub(column.Power10(g.Type.Precision), big.NewInt(1))
	if high.Cmp(most) > 0 {
		high = most
	}
	if least := new(big.Int).Neg(most); low.Cmp(least) < 0 {
		low = least
	}
	width := new(big.Int).Sub(high, low)
	part := new(big.Int).SetBytes(randomBytes(20, random))
	return part.Mod(part, width.Add(width, big.NewInt(1))).Add(part, low)
}

func randomBytes(n int, random *rand.Rand) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.IntN(256))
	}
	return b
}

// counted returns a number of a sequence as a value of its column.
func counted(t column.Type, n int64) any {
	switch t.Kind {
	case column.Float, column.Double:
		return float64(n)
	case column.Decimal:
		return new(big.Int).Mul(big.NewInt(n), column.Power10(t.Scale))
	case column.String:
		return strconv.FormatInt(n, 10)
	}
	return n
}
