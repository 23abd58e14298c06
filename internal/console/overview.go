package console

import (
	"net/http"
	"sync"
	"time"

	"weir.example/weir/internal/console/api"
)

// historyLength is the number of points kept: ten minutes while a page is open, otherwise half an
// hour.
const historyLength = 600

// history holds the latest points, oldest first.
type history struct {
	mu     sync.Mutex
	points []api.Point
}

func (h *history) add(p api.Point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.points) >= historyLength {
		copy(h.points, h.points[1:])
		h.points = h.points[:historyLength-1]
	}
	h.points = append(h.points, p)
}

func (h *history) all() []api.Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]api.Point{}, h.points...)
}

func (h *history) last() (p api.Point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.points) > 0 {
		p = h.points[len(h.points)-1]
	}
	return p
}

// point returns the current key figures: the counters of this process if it runs the flow,
// otherwise those of the broker.
func (c *Console) point() api.Point {
	s := c.cluster.state()
	p := api.Point{At: c.cfg.Now().UnixMilli(), Open: s.Open, Gap: s.Err != ""}
	for _, g := range s.Groups {
		p.Lag += g.Lag
		if t := g.Topic(c.cfg.Site.Readings()); t != nil {
			p.Out = max(p.Out, t.Rate)
		}
	}
	if t := s.topic(c.cfg.Site.Readings()); t != nil {
		p.In, p.Total = t.Rate, t.Records
	}
	p.P50, p.P99 = c.fleet.delays()
	if c.cfg.Flow != nil {
		flow := c.cfg.Flow()
		p.In, p.Out = flow.ProducedRate, flow.ConsumedRate
		p.P50, p.P99 = milliseconds(flow.P50), milliseconds(flow.P99)
	}
	return p
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (c *Console) overviewNow() api.Overview {
	s := c.cluster.state()
	f := api.Overview{
		Now: c.history.last(), Latency: "record to console", Devices: c.fleet.counts(),
		Brokers: s.Brokers, Topics: len(s.Topics), Partitions: c.cluster.partitions(), UnderReplicated: s.UnderReplicated, Offline: s.Offline,
		Groups: s.Groups, Pipelines: c.pipelineRows(), Error: s.Err,
	}
	if !s.At.IsZero() {
		f.Answered = s.At.UnixMilli()
	}
	f.DeadLetters = c.deadLetters.counted.total()
	if c.cfg.Flow != nil {
		flow := c.cfg.Flow()
		f.Latency = "reading to committed result"
		f.Flow = &api.FlowTotals{
			Elapsed: flow.Elapsed.Seconds(), Produced: flow.Produced, Consumed: flow.Consumed,
			Transactions: flow.Transactions, DeadLetters: flow.DeadLetters,
		}
	}
	return f
}

func (c *Console) overview(*http.Request) (any, error) {
	f := c.overviewNow()
	f.Points = c.history.all()
	return f, nil
}

type overviewFeed struct{ c *Console }

func (f overviewFeed) frame() any            { return f.c.overviewNow() }
func (f overviewFeed) period() time.Duration { return 500 * time.Millisecond }
func (f overviewFeed) close()                {}
