package operator

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/trace"
)

// lineage tracks which traced records contributed to the groups of an operator, so that the trace
// of a result links to them. It is kept in memory only and bounded: after a restore, or when it is
// full, a result links to fewer records, or none. It is nil if nothing is traced.
type lineage struct {
	of map[int64]map[string][]context.Context // by slice and key
	n  int
}

// maxLineage is the number of records that an operator tracks.
const maxLineage = 1024

func (t *Task) newLineage() *lineage {
	if !t.traced {
		return nil
	}
	return &lineage{of: make(map[int64]map[string][]context.Context)}
}

// add notes that a record contributed to a group. The context of an untraced record is nil.
func (o *lineage) add(ctx context.Context, slice int64, key []byte) {
	if ctx == nil || o.n == maxLineage || len(o.of[slice][string(key)]) == trace.MaxLinks {
		return
	}
	if o.of[slice] == nil {
		o.of[slice] = make(map[string][]context.Context)
	}
	o.of[slice][string(key)] = append(o.of[slice][string(key)], ctx)
	o.n++
}

// caused returns a record whose context links to the records that contributed to a key in a slice.
// The first of them is its parent.
func (o *lineage) caused(slice int64, key []byte) *kgo.Record {
	all := o.of[slice][string(key)]
	if len(all) == 0 {
		return nil
	}
	return onlyContext(trace.Caused(all[0], all[1:]...))
}

// joined returns a record whose context links to the records that contributed to a key in the
// slices in (start, end].
func (o *lineage) joined(start, end int64, key []byte) *kgo.Record {
	var all []context.Context
	for slice, keys := range o.of {
		if slice > start && slice <= end {
			all = append(all, keys[string(key)]...)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return onlyContext(trace.Joined(all...))
}

// forget drops the records of a key in the slices in (start, end].
func (o *lineage) forget(start, end int64, key []byte) {
	for slice, keys := range o.of {
		if all, ok := keys[string(key)]; ok && slice > start && slice <= end {
			o.n -= len(all)
			if delete(keys, string(key)); len(keys) == 0 {
				delete(o.of, slice)
			}
		}
	}
}

// drop drops the records of a slice.
func (o *lineage) drop(slice int64) {
	if o == nil {
		return
	}
	for _, all := range o.of[slice] {
		o.n -= len(all)
	}
	delete(o.of, slice)
}

// clear drops all records.
func (o *lineage) clear() {
	if o != nil {
		clear(o.of)
		o.n = 0
	}
}

// onlyContext returns a record that carries only a context; nil if nothing is traced.
func onlyContext(ctx context.Context) *kgo.Record {
	if ctx == nil {
		return nil
	}
	return &kgo.Record{Context: ctx}
}
