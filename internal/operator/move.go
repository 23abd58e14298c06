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

// Mover says which task keeps an entry of a stage's state when the stage's inputs have another
// number of partitions, and moves it there. Entries are kept by a key that begins with columns of
// an input's row (entries of groups), or are such a row itself (rows that wait).
//
// What is not by key stays with its task: positions, watermarks, and the numbers of waiting rows.
type Mover struct {
	owners []*owner
	names  map[uint16]bool // all entries that a task of the stage has
}

// owner knows whose the entries of one number are.
type owner struct {
	entry   uint16
	homes   homes
	nulls   bool
	skip    func(*reader) // what precedes the key; nil: nothing
	read    []*column.Column
	row     *column.Batch // the input's row, where entries are rows that wait
	numbers uint16        // of rows that wait: the entry of their next number
}

// NewMover makes the mover of a stage whose inputs have as many partitions from now on. The error
// names state that lies by no topic's key.
func NewMover(stage *plan.Stage, partitions int32, schemas *format.Schemas) (*Mover, error) {
	m := &Mover{names: map[uint16]bool{watermarkEntry: true}}
	for _, r := range stage.Relations {
		if r.State == 0 {
			continue
		}
		if err := m.relation(r, partitions, schemas); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Describe(), err)
		}
	}
	return m, nil
}

// relation adds the owners of what a relation keeps.
func (m *Mover) relation(r *plan.Relation, partitions int32, schemas *format.Schemas) error {
	var failed error
	add := func(entry uint16, input int, keys []int, skip func(*reader)) {
		o, err := newOwner(r, input, keys, partitions, schemas)
		if err != nil {
			failed = err
			return
		}
		o.entry, o.skip = r.State+entry, skip
		m.add(o)
	}
	queued := func(entry, numbers uint16, input int) {
		o, err := newOwner(r, input, nil, partitions, schemas)
		if err != nil {
			failed = err
			return
		}
		o.entry, o.numbers = r.State+entry, r.State+numbers
		m.names[o.numbers] = true
		m.add(o)
	}
	switch op := r.Op.(type) {
	case *plan.Aggregate:
		var keys []int
		for i, k := range op.Keys {
			if !ofWindow(op, i) {
				keys = append(keys, k)
			}
		}
		add(groups, 0, keys, nil)
		switch {
		case op.Window == nil:
			add(distincts, 0, keys, skipDistinct)
		case op.Window.Kind == plan.Session && op.Window.Sliced:
			add(parts, 0, keys, nil)
			add(timers, 0, keys, nil)
		default:
			add(distincts, 0, keys, skipDistinct)
			add(partialSlices, 0, keys, func(r *reader) { r.int64() })
		}
	case *plan.Rank:
		add(groups, 0, op.Partition, nil)
		if op.First {
			queued(1, numbers, 0)
		}
	case *plan.Over:
		queued(0, numbers, 0)
		add(histories, 0, op.Partition, nil)
		if op.Frame.Unbounded {
			add(frameRows, 0, op.Partition, skipDistinct)
		} else {
			add(frameRows, 0, op.Partition, func(r *reader) { r.count() })
		}
	case *plan.TemporalJoin:
		queued(waitingRows, numbers, 0)
		add(versions, 1, op.Right, nil)
	default:
		return fmt.Errorf("no state of %T is known", r.Op)
	}
	return failed
}

// skipDistinct takes what precedes the group's key in an entry of distinctKey.
func skipDistinct(r *reader) {
	r.byte()
	r.count()
}

func (m *Mover) add(o *owner) {
	m.owners = append(m.owners, o)
	m.names[o.entry] = true
}

// newOwner makes the owner of entries whose keys begin with columns of an input, or with nil keys
// of its rows.
func newOwner(r *plan.Relation, input int, keys []int, partitions int32, schemas *format.Schemas) (*owner, error) {
	at := r.Home(input)
	if at == nil {
		return nil, errors.New("its state is not by the key of a topic")
	}
	h, err := newHomes(at, partitions, schemas)
	if err != nil {
		return nil, err
	}
	o := &owner{homes: h, nulls: at.Nulls}
	in := r.Inputs[input]
	if keys == nil {
		o.row = batch(in)
		for i, c := range at.Columns {
			if o.homes.cols[i] = o.row.Cols[c]; o.homes.cols[i] == nil {
				return nil, fmt.Errorf("its rows are kept without column %s of the topic's key", in.Cols[c].Name)
			}
		}
		return o, nil
	}
	for _, k := range keys {
		o.read = append(o.read, newColumn(in, k))
	}
	for i, c := range at.Columns {
		place := slices.Index(keys, c)
		if place < 0 {
			return nil, fmt.Errorf("its state is not by column %s of the topic's key", in.Cols[c].Name)
		}
		o.homes.cols[i] = o.read[place]
	}
	return o, nil
}

// home is the partition of an entry. One of a join whose key has a NULL meets nothing, and stays.
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

// Moved is an entry that belongs elsewhere.
type Moved struct {
	To         int32 // the partition of its key
	Window     int64
	Key, Value []byte
	owner      *owner
}

// Bytes is the size of the entry.
func (e *Moved) Bytes() int { return len(e.Key) + len(e.Value) }

// Find calls fn with the entries of a task's state that belong to other tasks, in their order,
// until it returns an error. fn may change the store. A second Find finds what is left.
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

// Move takes an entry from one store to another. A row that waits gets the next number there: rows
// of one time and lane keep their order, as those of one key all come from one task.
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

// Check refuses entries of a store that would be left behind: those that no relation of the stage
// has, and what versions before this one kept beside the state of keys.
func (m *Mover) Check(store *state.Store) error {
	for entry := watermarkEntry; entry < math.MaxUint16 && int(entry) < store.Operators(); entry++ {
		if len(store.Windows(entry)) > 0 && !m.names[entry] {
			return fmt.Errorf("entry %d of the state belongs to nothing that the stage keeps", entry)
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

// Begin gives a task that is new the watermarks of another.
func (m *Mover) Begin(from, to *state.Store) {
	watermarks := make(map[string][]byte)
	from.Scan(watermarkEntry, 0, func(key, value []byte) bool {
		watermarks[string(key)] = bytes.Clone(value)
		return true
	})
	for key, value := range watermarks {
		to.Put(watermarkEntry, 0, []byte(key), value)
	}
}
