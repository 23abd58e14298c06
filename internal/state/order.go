package state

import (
	"slices"
	"strings"

	"github.com/tidwall/btree"
)

// orderOverhead is the size in bytes of an entry's place in an order: a pointer in a B-tree whose
// nodes are between half and completely full. BenchmarkSort measures it.
const orderOverhead = 20

// order is the sorted index of a space: all its entries in memory, by key. Only spaces that were
// read with ScanRange or ScanPrefix have one; see [Store.sort].
type order struct {
	tree    *btree.BTreeG[*entry]
	version uint64 // number of changes so far, which invalidate the iterators of the tree
}

func byKey(a, b *entry) int { return strings.Compare(a.key, b.key) }

// sort gives sp an order, unless it has one. add and forget maintain it until sp is removed.
//
// Building an order on first use instead of declaring ordered ops keeps the key format and the
// restore of other spaces free of any knowledge of how operators read them, and windows that are
// never read in part don't pay for it. The cost is one sort of the entries that are in memory by
// then.
func (s *Store) sort(sp *space) {
	if sp.order != nil {
		return
	}
	entries := make([]*entry, 0, len(sp.entries))
	for _, e := range sp.entries {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, byKey)
	less := func(a, b *entry) bool { return a.key < b.key }
	sp.order = &order{tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
	for _, e := range entries {
		sp.order.tree.Load(e)
	}
	s.bytes += orderOverhead * int64(len(entries))
}

func (o *order) insert(e *entry) {
	o.tree.Set(e)
	o.version++
}

func (o *order) remove(e *entry) {
	o.tree.Delete(e)
	o.version++
}

// cursor reads the entries of an order with keys in [from, to). Entries may be loaded and evicted
// while it is in use: reading one space may load an entry of another, which evicts entries of any.
type cursor struct {
	order    *order
	to       []byte // nil: unbounded
	it       btree.IterG[*entry]
	version  uint64 // of the order, when it was positioned
	pivot    entry  // its key is where to continue
	returned bool   // next has returned the entry of that key
	done     bool
}

func (c *cursor) start(o *order, from, to []byte) {
	c.order, c.to = o, to
	c.pivot.key, c.returned, c.done = string(from), false, false
	c.it.Init(o.tree, false)
	c.version = o.version - 1 // not positioned yet
}

// next returns the next entry, or nil after the last one.
func (c *cursor) next() *entry {
	if c.done || !c.move() {
		c.done = true
		return nil
	}
	e := c.it.Item()
	if c.to != nil && e.key >= string(c.to) {
		c.done = true
		return nil
	}
	c.pivot.key, c.returned = e.key, true
	return e
}

// move moves the iterator to the next entry and reports whether there is one.
func (c *cursor) move() bool {
	if c.version == c.order.version {
		return c.it.Next()
	}
	c.version = c.order.version
	ok := c.it.Seek(&c.pivot)
	if ok && c.returned && c.it.Item().key == c.pivot.key {
		ok = c.it.Next()
	}
	return ok
}

// stop drops all references to entries.
func (c *cursor) stop() {
	c.it.Release()
	c.order, c.to, c.pivot.key = nil, nil, ""
}
