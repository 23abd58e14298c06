package operator

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// Mover finds the task that owns an entry of a stage's state after the partition count of the
// stage's inputs has changed, and moves the entry there. Entries either have a key that starts with
// columns of an input row (entries of groups), or are such a row themselves (waiting rows).
//
// State that is not keyed stays with its task: offsets, watermarks, and the numbers of waiting
// rows.
type Mover struct {
	owners []*owner
	names  map[uint16]bool // all entries of a task of the stage
}

// owner computes the partitions of the entries of one number.
type owner struct {
	entry   uint16
	homes   homes
	nulls   bool
	skip    func(*reader) // skips what precedes the key; nil if nothing does
	read    []*column.Column
	row     *column.Batch // the input's row, if entries are waiting rows
	numbers uint16        // for waiting rows: the entry of their next number
}

// NewMover returns the mover of a stage whose inputs will have the given number of partitions. The
// error names state that is not partitioned by the key of a topic.
func NewMover(stage *plan.Stage, partitions int32, schemas *format.Schemas) (*Mover, error) {
	m := &Mover{names: map[uint16]bool{watermarkEntry: true}}
	for _, r := range stage.States() {
		if err := m.relation(r, partitions, schemas); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Describe(), err)
		}
	}
	return m, nil
}

// movedEntry describes the entries of one number in an operator's state. Their keys start with
// columns of an input's row, or they are such rows themselves, which wait.
type movedEntry struct {
	number  uint16
	input   int
	keys    []int         // columns of the input; nil for waiting rows
	skip    func(*reader) // skips what precedes the columns; nil if nothing does
	waiting bool
	numbers uint16 // for waiting rows: the entry of their next number
}

func keyedEntry(number uint16, input int, keys []int, skip func(*reader)) movedEntry {
	return movedEntry{number: number, input: input, keys: keys, skip: skip}
}

func waitingEntry(number, numbers uint16, input int) movedEntry {
	return movedEntry{number: number, input: input, waiting: true, numbers: numbers}
}

// relation adds the owners of a relation's state.
func (m *Mover) relation(r *plan.Relation, partitions int32, schemas *format.Schemas) error {
	entries := implementations[r.Op.Name()].entries
	if entries == nil {
		return fmt.Errorf("unknown state of %T", r.Op)
	}
	for _, e := range entries(r) {
		o, err := newOwner(r, &e, partitions, schemas)
		if err != nil {
			return err
		}
		m.owners = append(m.owners, o)
		m.names[o.entry] = true
		if e.waiting {
			m.names[o.numbers] = true
		}
	}
	return nil
}

// newOwner returns the owner of entries.
func newOwner(r *plan.Relation, e *movedEntry, partitions int32, schemas *format.Schemas) (*owner, error) {
	at := r.Home(e.input)
	if at == nil {
		return nil, errors.New("its state is not partitioned by the key of a topic")
	}
	h, err := newHomes(at, partitions, schemas)
	if err != nil {
		return nil, err
	}
	o := &owner{entry: r.State + e.number, homes: h, nulls: at.Nulls, skip: e.skip}
	in := r.Inputs[e.input]
	if e.waiting {
		o.numbers = r.State + e.numbers
		o.row = batch(in)
		for i, c := range at.Columns {
			if o.homes.cols[i] = o.row.Cols[c]; o.homes.cols[i] == nil {
				return nil, fmt.Errorf("its stored rows lack column %s of the topic's key", in.Cols[c].Name)
			}
		}
		return o, nil
	}
	for _, k := range e.keys {
		o.read = append(o.read, newColumn(in, k))
	}
	for i, c := range at.Columns {
		place := slices.Index(e.keys, c)
		if place < 0 {
			return nil, fmt.Errorf("its state is not partitioned by column %s of the topic's key", in.Cols[c].Name)
		}
		o.homes.cols[i] = o.read[place]
	}
	return o, nil
}

// home returns the partition of an entry. A join entry with a NULL in its key matches nothing and
// stays.
func (o *owner) home(here int32, key, value []byte) (int32, error) {
	in := &reader{b: key}
	if o.row != nil {
		in.b = value
		clearBatch(o.row)
		in.row(o.row)
	} else {
		if o.skip != nil {
			o.skip(in)
		}
		for _, c := range o.read {
			c.Truncate(0)
			in.value(c)
		}
	}
	if in.err != nil {
		return 0, fmt.Errorf("entry %d of the state: %w", o.entry, in.err)
	}
	if !o.nulls && o.homes.null(0) {
		return here, nil
	}
	return o.homes.of(0)
}

// Moved is an entry that belongs to another partition.
type Moved struct {
	To         int32 // the partition of its key
	Window     int64
	Key, Value []byte
	owner      *owner
}

// Bytes returns the size of the entry.
func (e *Moved) Bytes() int { return len(e.Key) + len(e.Value) }

// Find calls fn with the entries of a task's state that belong to other tasks, in order, until it
// returns an error. fn may change the store. Another Find returns the remaining entries.
func (m *Mover) Find(store *state.Store, here int32, fn func(*Moved) error) error {
	for _, o := range m.owners {
		for _, window := range store.Windows(o.entry) {
			var all []*Moved
			var failed error
			store.Scan(o.entry, window, func(key, value []byte) bool {
				var to int32
				if to, failed = o.home(here, key, value); failed == nil && to != here {
					all = append(all, &Moved{to, window, bytes.Clone(key), bytes.Clone(value), o})
				}
				return failed == nil
			})
			if failed == nil {
				failed = store.Err()
			}
			if failed != nil {
				return failed
			}
			for _, e := range all {
				if err := fn(e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Move moves an entry from one store to another. A waiting row gets the next number there: rows of
// equal time and lane keep their order, since all rows of a key come from the same task.
func (m *Mover) Move(e *Moved, from, to *state.Store) error {
	o, key := e.owner, e.Key
	from.Delete(o.entry, e.Window, key)
	if o.numbers > 0 {
		if len(key) != 16 {
			return errState
		}
		next := uint64(0)
		if v, ok := to.Get(o.numbers, 0, nextKey); ok && len(v) == 8 {
			next = binary.BigEndian.Uint64(v)
		}
		const counts = 1<<laneShift - 1
		key = bytes.Clone(key)
		number := binary.BigEndian.Uint64(key[8:])&^uint64(counts) | next&counts
		binary.BigEndian.PutUint64(key[8:], number)
		to.Put(o.numbers, 0, nextKey, binary.BigEndian.AppendUint64(nil, next+1))
	}
	to.Put(o.entry, e.Window, key, e.Value)
	return nil
}

// Check rejects a store with entries that would be left behind: entries of no relation of the
// stage, and those that older versions stored in addition to keyed state.
func (m *Mover) Check(store *state.Store) error {
	for entry := watermarkEntry; entry < math.MaxUint16 && int(entry) < store.Operators(); entry++ {
		if len(store.Windows(entry)) > 0 && !m.names[entry] {
			return fmt.Errorf("entry %d of the state belongs to no operator of the stage", entry)
		}
	}
	var failed error
	store.Scan(watermarkEntry, 0, func(key, _ []byte) bool {
		if bytes.HasPrefix(key, []byte(firedPrefix)) {
			failed = errors.New("an older version of Weir has emitted windows of the state by the watermarks of single rows")
		}
		return failed == nil
	})
	return failed
}

// Restamp lets tasks give their keys stamps again, see expiry, unless all that have keys have
// finished that: a key without a stamp may move to a task that would not look for it.
func (m *Mover) Restamp(stores []*state.Store) {
	tasks := 0
	progress, finished := make(map[string]bool), make(map[string]int)
	for _, store := range stores {
		keyed := slices.ContainsFunc(m.owners, func(o *owner) bool { return len(store.Windows(o.entry)) > 0 })
		if keyed {
			tasks++
		}
		store.ScanPrefix(watermarkEntry, 0, []byte(stampsPrefix), func(key, value []byte) bool {
			progress[string(key)] = true
			if keyed {
				finished[string(key)+string(value)]++
			}
			return true
		})
	}
	for key := range progress {
		for _, store := range stores {
			if value, ok := store.Get(watermarkEntry, 0, []byte(key)); ok && finished[key+string(value)] < tasks {
				store.Delete(watermarkEntry, 0, []byte(key))
			}
		}
	}
}

// CopyWatermarks gives a new task the watermarks of another.
func (m *Mover) CopyWatermarks(from, to *state.Store) {
	watermarks := make(map[string][]byte)
	from.Scan(watermarkEntry, 0, func(key, value []byte) bool {
		watermarks[string(key)] = bytes.Clone(value)
		return true
	})
	for key, value := range watermarks {
		to.Put(watermarkEntry, 0, []byte(key), value)
	}
}
