package operator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
)

// Drop is a kind of data loss requested by an option of a table or an INSERT.
type Drop struct {
	Table string `json:"table"`
	What  string `json:"what"`
}

// What is dropped, and the option that requests it.
const (
	DropRecords = "records" // json.ignore-parse-errors: a record, or the part of it after the first error
	DropValues  = "values"  // json.ignore-parse-errors: a value that became NULL
	DropEntries = "entries" // json.map-null-key.mode = DROP: an entry of a map
	DropRows    = "rows"    // table.exec.sink.not-null-enforcer = DROP: a row
)

// Dropped counts drops.
type Dropped map[Drop]int64

// Add adds other counts.
func (d Dropped) Add(more Dropped) {
	for what, n := range more {
		d[what] += n
	}
}

// Total returns the sum over all tables and kinds.
func (d Dropped) Total() (n int64) {
	for _, m := range d {
		n += m
	}
	return n
}

// dropCount is a Drop and its count in JSON.
type dropCount struct {
	Drop
	N int64 `json:"n"`
}

// MarshalJSON encodes a list, sorted by table.
func (d Dropped) MarshalJSON() ([]byte, error) {
	all := make([]dropCount, 0, len(d))
	for _, drop := range d.sorted() {
		all = append(all, dropCount{drop, d[drop]})
	}
	return json.Marshal(all)
}

// UnmarshalJSON decodes the output of MarshalJSON.
func (d *Dropped) UnmarshalJSON(text []byte) error {
	var all []dropCount
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*d = make(Dropped)
	for _, c := range all {
		(*d)[c.Drop] += c.N
	}
	return nil
}

func (d Dropped) sorted() []Drop {
	return slices.SortedFunc(maps.Keys(d), func(a, b Drop) int { return cmp.Or(strings.Compare(a.Table, b.Table), strings.Compare(a.What, b.What)) })
}

// String lists the counts by table, such as "readings: 3 records, 1 values".
func (d Dropped) String() string {
	all := d.sorted()
	var s strings.Builder
	for i, drop := range all {
		switch {
		case i > 0 && all[i-1].Table == drop.Table:
			s.WriteString(", ")
		case i > 0:
			s.WriteString("; ")
			fallthrough
		default:
			s.WriteString(drop.Table + ": ")
		}
		fmt.Fprintf(&s, "%d %s", d[drop], drop.What)
	}
	return s.String()
}

// dropped adds the counts of what the formats of a table have dropped.
func (t *Task) dropped(table *plan.Table, formats ...any) {
	for _, f := range formats {
		d, ok := f.(format.Dropper)
		if !ok || *d.Dropped() == (format.Dropped{}) {
			continue
		}
		n := *d.Dropped()
		*d.Dropped() = format.Dropped{}
		t.drop(table, DropRecords, n.Records)
		t.drop(table, DropValues, n.Values)
		t.drop(table, DropEntries, n.Entries)
	}
}

func (t *Task) drop(table *plan.Table, what string, n int64) {
	if n == 0 {
		return
	}
	if t.out.Dropped == nil {
		t.out.Dropped = make(Dropped)
	}
	t.out.Dropped[Drop{table.Name, what}] += n
}
