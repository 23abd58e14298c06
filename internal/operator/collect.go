package operator

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"sort"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// The functions whose results grow with the rows of their group, such as ARRAY_AGG, and MIN and MAX
// over updating rows keep each value in a state entry of its own: a row changes one small entry,
// whatever the group holds. What they keep among the group's accumulators is only the number of the
// next value.
//
// The order of a list is that of the rows: those of one partition of a table in the order of that
// partition, partitions in ascending order. It does not depend on how partitions are polled, and is
// the same after a crash. A window that is assembled from slices, and a session, lists its slices
// and parts in the order of time. Updating rows have no such order: how often a row is emitted
// depends on where transactions end. Their values are sorted.

// valuePlace is where the values of a group are: in a window of a state entry, under keys that
// begin with the function's number and prefix.
type valuePlace struct {
	store  *state.Store
	entry  uint16
	window int64
	prefix []byte // the group's key as in distinctPrefix, then what tells apart the parts of a group
}

// elementsOf returns the place of a group's values. It is under the same entry as the values of
// DISTINCT functions, and moves with them.
func elementsOf(store *state.Store, entry uint16, window int64, key []byte, part ...byte) valuePlace {
	return valuePlace{store, entry, window, append(appendBytes(nil, key), part...)}
}

// ofElements marks the function's number in keys of values, which follow those of DISTINCT.
const ofElements = 0x80

// keyOf returns the key of a value.
func (e valuePlace) keyOf(agg int, name []byte) []byte {
	key := append([]byte{byte(agg) | ofElements}, e.prefix...) //nolint:gosec // fewer than 128: see plan.maxCollectors
	return append(key, name...)
}

// each calls fn with the names and values of a function, in the order of their names.
func (e valuePlace) each(agg int, fn func(name, value []byte) bool) {
	prefix := e.keyOf(agg, nil)
	e.store.ScanPrefix(e.entry, e.window, prefix, func(key, value []byte) bool { return fn(key[len(prefix):], value) })
}

func (e valuePlace) get(agg int, name []byte) ([]byte, bool) {
	return e.store.Get(e.entry, e.window, e.keyOf(agg, name))
}

func (e valuePlace) put(agg int, name, value []byte) {
	e.store.Put(e.entry, e.window, e.keyOf(agg, name), value)
}

func (e valuePlace) remove(agg int, name []byte) {
	e.store.Delete(e.entry, e.window, e.keyOf(agg, name))
}

// clear removes the values of a function.
func (e valuePlace) clear(agg int) {
	var names [][]byte
	e.each(agg, func(name, _ []byte) bool {
		names = append(names, bytes.Clone(name))
		return true
	})
	for _, name := range names {
		e.remove(agg, name)
	}
}

// collector is a function that collects values. As an accumulator it counts the values that it has
// numbered.
type collector struct {
	counter
	agg    plan.Agg
	arg    column.Type
	by     byte // what its values are kept by
	second column.Type
}

const (
	byOrder = iota // LISTAGG, ARRAY_AGG, JSON_ARRAYAGG: lane and number
	byValue        // COLLECT, PERCENTILE, and lists of updating rows: the value, with its frequency
	byKey          // JSON_OBJECTAGG: the key, with the value
	byRank         // MIN and MAX of updating rows: bytes that sort like the value, the result first, with its frequency and itself
)

// collects returns the collector of a function; nil if it is another one.
func collects(a plan.Agg, in *plan.Relation) *collector {
	if !a.KeepsValues() {
		return nil
	}
	c := &collector{agg: a, arg: in.Cols[a.Arg].Type}
	if i := a.Second(); i >= 0 {
		c.second = in.Cols[i].Type
	}
	switch {
	case a.Name == "JSON_OBJECTAGG":
		c.by = byKey
	case !a.Collects():
		c.by = byRank
	case a.Name == "COLLECT" || a.Name == "PERCENTILE" || a.Retracts:
		c.by = byValue
	}
	return c
}

// add numbers a value.
func (c *collector) add(dst []byte, old *reader, _ *column.Column, _ int) []byte {
	return binary.AppendVarint(dst, c.read(old)+1)
}

// retract keeps the number: those of values are never used again.
func (c *collector) retract(dst []byte, old *reader, _ *column.Column, _ int) []byte {
	return c.skip(dst, old)
}

// result is not used: the values are not among the accumulators. See collected.
func (c *collector) result(in *reader, to *column.Column) {
	c.read(in)
	to.AddNull()
}

// counts reports whether a function has a value for a row.
func (c *collector) counts(b *column.Batch, row int) bool {
	if c.agg.Absent && b.Cols[c.agg.Second()].Null[row] {
		return false
	}
	return c.agg.Nulls || !b.Cols[c.agg.Arg].Null[row]
}

// put stores the value of a row. number is that of the value in its group, or in its part of it.
func (c *collector) put(e valuePlace, agg int, b *column.Batch, row int, from lane, number int64) {
	switch c.by {
	case byOrder:
		name := binary.BigEndian.AppendUint64(nil, uint64(from))   //nolint:gosec // not negative
		name = binary.BigEndian.AppendUint64(name, uint64(number)) //nolint:gosec // not negative
		e.put(agg, name, appendValue(nil, b.Cols[c.agg.Arg], row))
	case byValue, byRank:
		c.count(e, agg, b, row, 1)
	case byKey:
		e.put(agg, []byte(b.Cols[c.agg.Arg].S[row]), appendValue(nil, b.Cols[c.agg.Second()], row))
	}
}

// count adds to the frequency of a value. It can be negative for a time, if a row of another
// partition is retracted before it arrives.
func (c *collector) count(e valuePlace, agg int, b *column.Batch, row int, sign int64) {
	times := int64(1)
	if c.agg.Second() >= 0 {
		f := b.Cols[c.agg.Second()]
		if f.Null[row] || f.I[row] <= 0 {
			return
		}
		times = f.I[row]
	}
	var name, value []byte
	if c.by == byRank { // the value itself tells 0.0 from -0.0, which sort alike
		value = appendValue(nil, b.Cols[c.agg.Arg], row)
		name = append(appendSorted(nil, b.Cols[c.agg.Arg], row, c.agg.Name == "MAX", true), value...)
	} else {
		name = appendKey(nil, b, []int{c.agg.Arg}, row)
	}
	old, _ := e.get(agg, name)
	n := counter{}.read(&reader{b: old}) + sign*times
	if n == 0 {
		e.remove(agg, name)
		return
	}
	e.put(agg, name, append(binary.AppendVarint(nil, n), value...))
}

// take removes the value of a row that is retracted.
func (c *collector) take(e valuePlace, agg int, b *column.Batch, row int) {
	if c.by == byValue || c.by == byRank {
		c.count(e, agg, b, row, -1)
		return
	}
	name := []byte(b.Cols[c.agg.Arg].S[row]) // of JSON_OBJECTAGG: the keys of a group are unique
	if have, ok := e.get(agg, name); ok && bytes.Equal(have, appendValue(nil, b.Cols[c.agg.Second()], row)) {
		e.remove(agg, name)
	}
}

// has reports whether a JSON_OBJECTAGG has a row's key already.
func (c *collector) has(e valuePlace, agg int, b *column.Batch, row int) bool {
	_, found := e.get(agg, []byte(b.Cols[c.agg.Arg].S[row]))
	return found
}

// collected appends the result to a column: the values of all places, in their order.
func (c *collector) collected(from []valuePlace, agg int, to *column.Column) error {
	switch {
	case c.agg.Name == "PERCENTILE":
		return c.percentiles(from, agg, to)
	case c.agg.Name == "COLLECT":
		return c.multiset(from, agg, to)
	case c.by == byKey:
		return c.object(from, agg, to)
	case c.by == byRank:
		return c.first(from, agg, to)
	}
	values := &column.Column{Type: c.arg}
	seen := make(map[string]bool)
	var err error
	for _, e := range from {
		e.each(agg, func(name, value []byte) bool {
			times := int64(1)
			if c.by == byValue {
				times, value = counter{}.read(&reader{b: value}), name
			}
			if c.agg.Distinct && seen[string(value)] {
				return true
			}
			seen[string(value)] = c.agg.Distinct
			for range times {
				in := &reader{b: value}
				in.value(values)
				err = errors.Join(err, in.err)
			}
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	if c.by == byValue {
		values = sorted(values)
	}
	c.list(values, to)
	return nil
}

// first appends the first value of MIN or MAX.
func (c *collector) first(from []valuePlace, agg int, to *column.Column) error {
	found, err := false, error(nil)
	for _, e := range from {
		e.each(agg, func(_, value []byte) bool {
			in := &reader{b: value}
			if in.varint() <= 0 {
				return true
			}
			in.value(to)
			found, err = true, in.err
			return false
		})
	}
	if !found {
		to.AddNull()
	}
	return err
}

// multiset appends the values, sorted, each with its number. Without any, it is empty and not NULL.
func (c *collector) multiset(from []valuePlace, agg int, to *column.Column) error {
	values := &column.Column{Type: c.arg}
	var numbers []int64
	rows := make(map[string]int)
	var err error
	for _, e := range from {
		e.each(agg, func(name, value []byte) bool {
			row, known := rows[string(name)]
			if !known {
				row = values.Len()
				rows[string(name)] = row
				in := &reader{b: name}
				in.value(values)
				numbers, err = append(numbers, 0), in.err
			}
			numbers[row] += counter{}.read(&reader{b: value})
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	set := &column.Dict{}
	for _, row := range ascending(values) {
		n := numbers[row]
		if n <= 0 {
			continue
		}
		if c.agg.Distinct {
			n = 1
		}
		set.Keys, set.Values = append(set.Keys, values.Value(row)), append(set.Values, n)
	}
	to.Add(set)
	return nil
}

// sorted returns the values of a column in ascending order, NULL first.
func sorted(c *column.Column) *column.Column {
	out := &column.Column{Type: c.Type}
	for _, row := range ascending(c) {
		out.AddFrom(c, row)
	}
	return out
}

// ascending returns the rows of a column in the order of their values, NULL first.
func ascending(c *column.Column) []int {
	rows := make([]int, c.Len())
	for i := range rows {
		rows[i] = i
	}
	slices.SortStableFunc(rows, func(a, b int) int {
		x, y := c.Value(a), c.Value(b)
		switch {
		case x == nil && y == nil:
			return 0
		case x == nil:
			return -1
		case y == nil:
			return 1
		}
		return column.CompareBoxed(x, y)
	})
	return rows
}

// list appends the result of a list.
func (c *collector) list(values *column.Column, to *column.Column) {
	n := values.Len()
	switch {
	case c.agg.Name == "JSON_ARRAYAGG":
		parts := make([]string, n)
		for i := range parts {
			if parts[i] = "null"; !values.Null[i] {
				parts[i] = values.S[i]
			}
		}
		to.AddText("[" + strings.Join(parts, ",") + "]")
	case n == 0:
		to.AddNull()
	case c.agg.Name == "LISTAGG":
		to.AddText(strings.Join(values.S, c.agg.Separator))
	default:
		all := make([]any, n)
		for i := range all {
			all[i] = values.Value(i)
		}
		to.Add(all)
	}
}

// object appends a JSON object whose keys are sorted.
func (c *collector) object(from []valuePlace, agg int, to *column.Column) error {
	members := make(map[string]json.RawMessage)
	value := &column.Column{Type: c.second}
	var err error
	for _, e := range from {
		e.each(agg, func(name, v []byte) bool {
			value.Truncate(0)
			in := &reader{b: v}
			in.value(value)
			if err = in.err; err != nil {
				return false
			}
			members[string(name)] = json.RawMessage("null")
			if !value.Null[0] {
				members[string(name)] = json.RawMessage(value.S[0])
			}
			return true
		})
	}
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(members))
	for k := range members {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b bytes.Buffer
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		text := json.NewEncoder(&b)
		text.SetEscapeHTML(false)
		if err := text.Encode(k); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // the newline
		b.WriteByte(':')
		b.Write(members[k])
	}
	b.WriteByte('}')
	to.AddText(b.String())
	return nil
}

// percentiles appends the percentiles of the values, with linear interpolation between them.
func (c *collector) percentiles(from []valuePlace, agg int, to *column.Column) error {
	counts := make(map[float64]int64)
	for _, e := range from {
		e.each(agg, func(name, value []byte) bool {
			in := &reader{b: name}
			in.byte()
			counts[in.float()] += counter{}.read(&reader{b: value})
			return true
		})
	}
	values := make([]float64, 0, len(counts))
	total := int64(0)
	for v, n := range counts {
		if c.agg.Distinct {
			n, counts[v] = 1, 1
		}
		values, total = append(values, v), total+n
	}
	if total <= 0 || len(c.agg.Percentages) == 0 {
		to.AddNull()
		return nil
	}
	sort.Float64s(values)
	if i := slices.IndexFunc(values, func(v float64) bool { return v == v }); i > 0 { // NaN is the largest
		values = append(values[i:], values[:i]...)
	}
	all := make([]any, len(c.agg.Percentages))
	for i, p := range c.agg.Percentages {
		all[i] = percentile(values, counts, p*float64(total-1)+1)
	}
	if to.Type.Kind == column.Array {
		to.Add(all)
	} else {
		to.Add(all[0])
	}
	return nil
}

// percentile returns the value at a position, from 1, of sorted values with their counts.
func percentile(values []float64, counts map[float64]int64, position float64) float64 {
	lower, higher := int64(math.Floor(position)), int64(math.Ceil(position))
	i, before := 0, counts[values[0]]
	for before < lower && i < len(values)-1 {
		i++
		before += counts[values[i]]
	}
	if before >= higher || i == len(values)-1 {
		return values[i]
	}
	return (float64(higher)-position)*values[i] + (position-float64(lower))*values[i+1]
}
