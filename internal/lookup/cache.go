package lookup

import (
	"container/list"
	"sync"
	"time"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// maxCacheBytes bounds the memory of a cache, whatever the number of its rows.
const maxCacheBytes = 256 << 20

// cache keeps answers for later transactions. When it is full, the answers that were not used for
// the longest time are dropped. A nil cache keeps nothing.
type cache struct {
	limits plan.LookupCache
	now    func() time.Time

	mu      sync.Mutex
	entries map[string]*list.Element
	used    *list.List // of *cached, the last used first
	rows    int        // a key without rows counts as one
	bytes   int64
}

// cached is one answer.
type cached struct {
	id            string
	rows          []operator.LookupRow
	bytes         int64
	written, used time.Time
}

func newCache(limits *plan.LookupCache, now func() time.Time) *cache {
	return &cache{limits: *limits, now: now, entries: make(map[string]*list.Element), used: list.New()}
}

func (c *cache) get(id string) ([]operator.LookupRow, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.entries[id]
	if at == nil {
		return nil, false
	}
	e, now := at.Value.(*cached), c.now() //nolint:forcetypeassert // the only kind
	if c.expired(e, now) {
		c.drop(at)
		return nil, false
	}
	e.used = now
	c.used.MoveToFront(at)
	return e.rows, true
}

func (c *cache) expired(e *cached, now time.Time) bool {
	return c.limits.AfterWrite > 0 && now.Sub(e.written) >= c.limits.AfterWrite || c.limits.AfterAccess > 0 && now.Sub(e.used) >= c.limits.AfterAccess
}

// put keeps an answer. Another worker may have kept one since get: the later one stays.
func (c *cache) put(id string, rows []operator.LookupRow) {
	if c == nil || len(rows) == 0 && !c.limits.Missing {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.entries[id]; at != nil {
		c.drop(at)
	}
	now := c.now()
	e := &cached{id: id, rows: rows, bytes: int64(len(id)) + sizeOf(rows) + 200, written: now, used: now}
	c.entries[id] = c.used.PushFront(e)
	c.rows, c.bytes = c.rows+max(1, len(rows)), c.bytes+e.bytes
	for last := c.used.Back(); last != nil; last = c.used.Back() {
		if c.rows <= c.limits.MaxRows && c.bytes <= maxCacheBytes && !c.expired(last.Value.(*cached), now) { //nolint:forcetypeassert // the only kind
			break
		}
		c.drop(last)
	}
}

func (c *cache) drop(at *list.Element) {
	e := c.used.Remove(at).(*cached) //nolint:forcetypeassert // the only kind
	delete(c.entries, e.id)
	c.rows, c.bytes = c.rows-max(1, len(e.rows)), c.bytes-e.bytes
}

// clear drops everything.
func (c *cache) clear() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.used.Init()
	c.rows, c.bytes = 0, 0
}

// size returns the rows in the cache.
func (c *cache) size() int {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows
}
