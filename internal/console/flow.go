package console

import (
	"maps"
	"strings"
	"sync"
	"time"

	"weir.example/weir/internal/console/api"
	"weir.example/weir/internal/engine"
)

// Pipelines of this process count their rows. Rates are computed here, from two samples of the
// counters.

// flowKey is a source of rows: an operator of a stage or, if topic is set, a topic that a stage
// reads.
type flowKey struct {
	stage    string
	relation int
	topic    string
}

// rates holds rows per second.
type rates map[flowKey]float64

// read returns the records per second that a pipeline reads, excluding its own topics, whose rows
// it has already read once.
func (r rates) read(pipeline string) (sum float64) {
	for k, n := range r {
		if k.topic != "" && !strings.HasPrefix(k.topic, pipeline+".") {
			sum += n
		}
	}
	return sum
}

// flows holds the rates of pipelines by name.
type flows struct {
	mu   sync.Mutex
	seen map[string]flowSample
}

// flowSample is a sample of a pipeline's counters. It is immutable.
type flowSample struct {
	at    time.Time
	rows  map[flowKey]int64
	rates rates
}

// sample adds a sample of a pipeline's counters.
func (f *flows) sample(name string, s *engine.Snapshot) {
	now := flowSample{at: s.At, rows: counted(s), rates: make(rates)}
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

// of returns the rates of a pipeline; empty before the second sample.
func (f *flows) of(name string) rates {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[name].rates
}

// keep drops pipelines that no longer run.
func (f *flows) keep(names map[string]Pipeline) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.seen, func(name string, _ flowSample) bool { _, ok := names[name]; return !ok })
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

// sampleFlows samples the counters of this process's pipelines.
func (c *Console) sampleFlows() {
	here := c.here()
	for name, p := range here {
		if p.Status != nil {
			s := p.Status()
			c.flows.sample(name, &s)
		}
	}
	c.flows.keep(here)
}

// allHere reports whether all workers of a group are in this process, so that the snapshot's
// counters are complete.
func allHere(g *api.Group, s *engine.Snapshot) bool {
	return s != nil && (g == nil || g.Members <= len(s.Workers))
}
