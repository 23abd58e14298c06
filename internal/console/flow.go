package console

import (
	"maps"
	"strings"
	"sync"
	"time"

	"weir.example/weir/internal/console/api"
	"weir.example/weir/internal/engine"
)

// A pipeline of this process counts its rows. Rates are ours: from two looks at what it has
// counted.

// flowKey is something that rows come out of: an operator of a stage, or, without one, a topic that
// a stage reads.
type flowKey struct {
	stage    string
	relation int
	topic    string
}

// rates are rows a second.
type rates map[flowKey]float64

// read is how many records a second a pipeline reads. Those of its own topics it has read before,
// as others.
func (r rates) read(pipeline string) (sum float64) {
	for k, n := range r {
		if k.topic != "" && !strings.HasPrefix(k.topic, pipeline+".") {
			sum += n
		}
	}
	return sum
}

// flows are the rates of pipelines by name.
type flows struct {
	mu   sync.Mutex
	seen map[string]flowsOf
}

// flowsOf is a pipeline at the last look. It is not changed after it was made.
type flowsOf struct {
	at    time.Time
	rows  map[flowKey]int64
	rates rates
}

// look notes what a pipeline has counted up to a moment.
func (f *flows) look(name string, s *engine.Snapshot) {
	now := flowsOf{at: s.At, rows: counted(s), rates: make(rates)}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.seen[name]
	for k, n := range now.rows {
		if before.rows != nil {
			now.rates[k] = smooth(before.rates[k], rate(n-before.rows[k], now.at.Sub(before.at).Seconds()))
		}
	}
	f.seen[name] = now
}

// of is the rates of a pipeline; empty before the second look.
func (f *flows) of(name string) rates {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[name].rates
}

// keep forgets pipelines that are gone.
func (f *flows) keep(names map[string]Pipeline) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.seen, func(name string, _ flowsOf) bool { _, ok := names[name]; return !ok })
}

func counted(s *engine.Snapshot) map[flowKey]int64 {
	all := make(map[flowKey]int64)
	for _, t := range s.Tasks {
		for _, in := range t.Inputs {
			all[flowKey{t.Stage, 0, in.Topic}] += in.Records
		}
		for _, o := range t.Operators {
			all[flowKey{t.Stage, o.Relation, ""}] += o.Rows
		}
	}
	return all
}

// countFlows looks at the pipelines of this process.
func (c *Console) countFlows() {
	here := c.here()
	for name, p := range here {
		if p.Status != nil {
			s := p.Status()
			c.flows.look(name, &s)
		}
	}
	c.flows.keep(here)
}

// allHere reports whether what a snapshot has counted is all that a group does: no worker is in
// another process.
func allHere(g *api.Group, s *engine.Snapshot) bool {
	return s != nil && (g == nil || g.Members <= len(s.Workers))
}
