package engine

import (
	"math"
	"sync"
)

// Generated has the ends of tables whose rows are generated while the pipeline runs.
type Generated struct {
	mu   sync.Mutex
	ends ends
}

// End says where the committed records of a topic end, after the last row was generated.
func (g *Generated) End(topic string, at map[int32]int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ends == nil {
		g.ends = make(ends)
	}
	g.ends[topic] = at
}

// known returns the number of topics whose end is known.
func (g *Generated) known() int {
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.ends)
}

// unknownEnd is the end of a partition into which rows are still generated.
const unknownEnd = math.MaxInt64

// endOf returns where a partition of a bounded source ends.
func (p *pipeline) endOf(topic string, partition int32) (end int64, bounded bool) {
	end, bounded = p.ends[topic][partition]
	if g := p.cfg.Generated; bounded && end == unknownEnd && g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if known, ok := g.ends[topic][partition]; ok {
			end = known
		}
	}
	return end, bounded
}
