package plan

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
)

// Cost is what an exchange or a part of an operator's state stores.
type Cost struct {
	What    string   `json:"what"`    // an entry: "a group", "a row of the left input"
	Key     []string `json:"key"`     // columns by which it is found; none if all entries have one key
	Holds   []string `json:"holds"`   // columns and aggregates, in addition to the key
	Bytes   int      `json:"bytes"`   // estimate of an entry without what the store and Kafka add
	Freed   string   `json:"freed"`   // when it is deleted
	Forever bool     `json:"forever"` // it is never deleted by time
}

// Costs returns what a relation's exchange or state stores; nil if it has neither.
func (r *Relation) Costs() []Cost {
	switch op := r.Op.(type) {
	case *Exchange:
		return []Cost{op.cost(r)}
	case *Aggregate:
		return op.costs(r)
	case *Rank:
		return op.costs(r)
	case *RegularJoin:
		return op.costs(r, [2]Cost{r.kept(0, nil, "a retraction"), r.kept(1, nil, "a retraction")})
	case *IntervalJoin:
		freed := Cost{Freed: fmt.Sprintf("once the watermark has passed the row by the bounds, %s and %s", op.Lower, op.Upper)}
		return op.costs(r, [2]Cost{freed, freed})
	case *WindowJoin:
		freed := Cost{Freed: "once the watermark has passed the end of the window"}
		return op.costs(r, [2]Cost{freed, freed})
	case *Normalize:
		key := op.Table.PrimaryKey
		return []Cost{entry("a row of "+op.Table.Name, r, key, r.needed(), r.kept(0, r.labels(key), "a tombstone"))}
	case *Materialize:
		in := r.Inputs[0]
		return []Cost{entry("a row that is not retracted", in, op.Keys, in.needed(), r.kept(0, in.labels(op.Keys), "a retraction"))}
	case *TemporalJoin:
		return []Cost{
			entry("a waiting row", r.Inputs[0], nil, r.Inputs[0].needed(), Cost{Freed: "once both watermarks have passed it"}),
			entry("a version", r.Inputs[1], op.Right, r.Inputs[1].needed(), Cost{Freed: "once the watermark has passed the next version; the last one of a key by its tombstone", Forever: true}),
		}
	case *Over:
		in := r.Inputs[0]
		var all []Cost
		if !op.Arrival {
			all = append(all, entry("a waiting row", in, nil, in.needed(), Cost{Freed: "once the watermark has passed it"}))
		}
		if op.Frame.Unbounded {
			sums := entry("running values of a partition", in, op.Partition, nil, Cost{Freed: grows(in.labels(op.Partition), ""), Forever: true})
			sums.Holds, sums.Bytes = aggNames(in, op.Aggs), sums.Bytes+16*len(op.Aggs)
			return append(all, sums)
		}
		return append(all, entry("a row of a frame", in, op.Partition, in.needed(), Cost{Freed: "once it has left the frames of later rows; the last frame of each partition stays", Forever: true}))
	case *TemporalSort:
		return []Cost{entry("a waiting row", r.Inputs[0], nil, r.Inputs[0].needed(), Cost{Freed: "once the watermark has passed it"})}
	case *Limit:
		return []Cost{{What: "a counter", Key: []string{}, Holds: []string{}, Bytes: 8, Freed: "never: there is one", Forever: true}}
	}
	return nil
}

// cost returns what an exchange sends for each row.
func (e *Exchange) cost(r *Relation) Cost {
	in := r.Inputs[0]
	sent := slices.DeleteFunc(r.needed(), func(c int) bool { return slices.Contains(e.Keys, c) })
	c := entry("a row", in, e.Keys, sent, Cost{Freed: "once it is read: the topic's records are deleted by its retention"})
	c.Bytes += 10 // kind and watermark
	return c
}

func (a *Aggregate) costs(r *Relation) []Cost {
	in := r.Inputs[0]
	var keys []int
	for i, k := range a.Keys {
		if w := a.Window; w == nil || i != w.Start && i != w.End && i != w.Time {
			keys = append(keys, k)
		}
	}
	freed := Cost{Freed: "once the watermark has passed the end of its windows"}
	if a.Window != nil && a.Window.Proctime {
		freed.Freed = "once the clock has passed the end of its windows"
	}
	what := "a group of a window"
	if a.Window == nil {
		what = "a group"
		gone := ""
		if in.Updating {
			gone = "the retraction of its last row"
		}
		freed = r.kept(0, in.labels(keys), gone)
	}
	group := entry(what, in, keys, nil, freed)
	group.Holds, group.Bytes = aggNames(in, a.Aggs), group.Bytes+16*len(a.Aggs)
	all := []Cost{group}
	sets := a.DistinctSets(r)
	for first, g := range a.Aggs {
		if g.Distinct && sets[first].First == first {
			var sharing []Agg
			for i, set := range sets {
				if set.First == first {
					sharing = append(sharing, a.Aggs[i])
				}
			}
			value := entry("a value of "+strings.Join(aggNames(in, sharing), ", "), in, append(slices.Clone(keys), g.Arg), nil, freed)
			value.Freed = "with its group"
			all = append(all, value)
		}
	}
	return all
}

func (k *Rank) costs(r *Relation) []Cost {
	in := r.Inputs[0]
	partition := in.labels(k.Partition)
	switch {
	case k.First:
		emitted := entry("a key that was emitted", in, k.Partition, nil, r.kept(0, partition, ""))
		if k.Arrival != NoArrival {
			return []Cost{emitted}
		}
		return []Cost{entry("a waiting row", in, nil, in.needed(), Cost{Freed: "once the watermark has passed it"}), emitted}
	case in.Updating:
		return []Cost{entry("a row", in, k.Partition, in.needed(), r.kept(0, partition, "a retraction"))}
	}
	freed := Cost{Freed: "once the watermark has passed the end of the window"}
	if k.End < 0 {
		freed = r.kept(0, partition, "")
	}
	best := entry(fmt.Sprintf("the first %d rows of a partition", k.Limit), in, k.Partition, in.needed(), freed)
	best.Bytes += int(k.Limit-1) * rowBytes(in, in.needed())
	return []Cost{best}
}

// costs returns the entries of a join, one for each row of both inputs. freed is when.
func (j *JoinOn) costs(r *Relation, freed [2]Cost) []Cost {
	var all []Cost
	for i, in := range r.Inputs {
		side := entry(fmt.Sprintf("a row of the %s input", []string{"left", "right"}[i]), in, [][]int{j.Left, j.Right}[i], in.needed(), freed[i])
		if side.Forever && !in.Updating {
			side.Freed = "never: grows with the number of its rows"
		}
		all = append(all, side)
	}
	return all
}

// kept returns when an entry is deleted whose state is kept until the TTL of an input's rows has
// passed. by is what deletes it before, "" if nothing does.
func (r *Relation) kept(input int, keys []string, by string) Cost {
	if r.TTL[input] > 0 {
		clock := "by the time of the transaction"
		if r.EventTime() {
			clock = "by the watermark"
		}
		text := fmt.Sprintf("%s after its last change, %s", r.TTL[input], clock)
		if by != "" {
			text = "by " + by + ", or " + text
		}
		return Cost{Freed: text}
	}
	return Cost{Freed: grows(keys, by), Forever: true}
}

func grows(keys []string, by string) string {
	text := "never: "
	if by != "" {
		text = "by " + by + " only: "
	}
	switch len(keys) {
	case 0:
		return strings.TrimSuffix(text, ": ")
	case 1:
		return text + "grows with the number of distinct " + keys[0]
	}
	return text + "grows with the number of distinct (" + strings.Join(keys, ", ") + ")"
}

// entry returns the cost of an entry with these columns of a relation, those of freed for its end.
func entry(what string, of *Relation, key, holds []int, freed Cost) Cost {
	freed.What, freed.Key, freed.Holds = what, of.labels(key), of.labels(holds)
	freed.Bytes = rowBytes(of, key) + rowBytes(of, holds)
	return freed
}

// labels returns the names of columns. One that the query does not name is called by its
// expression instead of by its number.
func (r *Relation) labels(columns []int) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = r.label(c)
	}
	return all
}

func (r *Relation) label(c int) string {
	if strings.HasPrefix(r.Cols[c].Name, unnamed) {
		switch op := r.Op.(type) {
		case *Project:
			return op.Exprs[c].String()
		case *Filter, *Exchange, *Union:
			return r.Inputs[0].label(c)
		}
	}
	return r.Cols[c].Name
}

func (r *Relation) needed() (all []int) {
	for i := range r.Cols {
		if r.Needed[i] {
			all = append(all, i)
		}
	}
	return all
}

func aggNames(in *Relation, aggs []Agg) []string {
	all := make([]string, len(aggs))
	for i := range aggs {
		all[i] = listAggs(in, aggs[i:i+1])
	}
	return all
}

// rowBytes estimates the size of columns in the state and in an exchange, with texts of 16 bytes,
// and nested values of four such texts.
func rowBytes(r *Relation, columns []int) (n int) {
	for _, c := range columns {
		switch t := r.Cols[c].Type; t.Kind {
		case column.Boolean, column.TinyInt:
			n += 2
		case column.SmallInt, column.Int, column.Date, column.Time:
			n += 5
		case column.BigInt:
			n += 6
		case column.Float, column.Double, column.Timestamp, column.TimestampLTZ:
			n += 9
		case column.Decimal:
			n += 8
		case column.Row, column.Array, column.Multiset, column.Map:
			n += 72
		default:
			n += 18
		}
	}
	return n
}

// CostText returns what each exchange and each state of the plan costs, as text.
func (p *Program) CostText() string {
	var b strings.Builder
	for _, s := range p.Stages {
		var lines strings.Builder
		for _, r := range s.Relations {
			costs := r.Costs()
			if len(costs) == 0 {
				continue
			}
			fmt.Fprintf(&lines, "  %s\n", r.Describe())
			for _, c := range costs {
				fmt.Fprintf(&lines, "    %s: %s\n", c.What, c.text())
			}
		}
		if lines.Len() > 0 {
			fmt.Fprintf(&b, "\n%s stores:\n%s", s.Name, lines.String())
		}
	}
	return b.String()
}

func (c *Cost) text() string {
	var parts []string
	if len(c.Key) > 0 {
		parts = append(parts, "by "+strings.Join(c.Key, ", "))
	}
	if len(c.Holds) > 0 {
		parts = append(parts, "holds "+strings.Join(c.Holds, ", "))
	}
	parts = append(parts, fmt.Sprintf("about %d bytes", c.Bytes), "freed "+c.Freed)
	return strings.Join(parts, "; ")
}
