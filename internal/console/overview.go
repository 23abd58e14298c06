package console

import (
	"net/http"
	"sync"
	"time"
)

// historyLength is how many points are kept: ten minutes while somebody watches, half an hour while
// nobody does.
const historyLength = 600

// point is the figures of one moment.
type point struct {
	At    int64   `json:"t"`   // milliseconds since 1970
	In    float64 `json:"in"`  // readings a second that the topic gets
	Out   float64 `json:"out"` // readings a second that are processed
	P50   float64 `json:"p50"` // milliseconds; 0 where unknown
	P99   float64 `json:"p99"`
	Lag   int64   `json:"lag"` // records that groups have yet to read, over all groups and topics
	Open  int     `json:"open"`
	Total int64   `json:"total"`         // readings in the topic
	Gap   bool    `json:"gap,omitempty"` // the broker did not answer: the figures are those of before
}

// history is the last points, the oldest first.
type history struct {
	mu     sync.Mutex
	points []point
}

func (h *history) add(p point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.points) >= historyLength {
		copy(h.points, h.points[1:])
		h.points = h.points[:historyLength-1]
	}
	h.points = append(h.points, p)
}

func (h *history) all() []point {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]point{}, h.points...)
}

func (h *history) last() (p point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.points) > 0 {
		p = h.points[len(h.points)-1]
	}
	return p
}

// point is what is known now: counted by this process where it runs the flow, else told by the
// broker.
func (c *Console) point() point {
	s := c.cluster.state()
	p := point{At: c.cfg.Now().UnixMilli(), Open: s.Open, Gap: s.Err != ""}
	for _, g := range s.Groups {
		p.Lag += g.Lag
		if t := g.topic(c.cfg.Readings); t != nil {
			p.Out = max(p.Out, t.Rate)
		}
	}
	if t := s.topic(c.cfg.Readings); t != nil {
		p.In, p.Total = t.Rate, t.Records
	}
	p.P50, p.P99 = c.fleet.delays()
	if c.cfg.Look != nil {
		flow := c.cfg.Look()
		p.In, p.Out = flow.ProducedRate, flow.ConsumedRate
		p.P50, p.P99 = milliseconds(flow.P50), milliseconds(flow.P99)
	}
	return p
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// overviewFrame is what the first page shows.
type overviewFrame struct {
	Now       point         `json:"now"`
	Latency   string        `json:"latency"` // what p50 and p99 are of
	Flow      *flowTotals   `json:"flow,omitempty"`
	Devices   deviceCounts  `json:"devices"`
	Brokers   []brokerState `json:"brokers"`
	Topics    int           `json:"topics"`
	Parts     int           `json:"partitions"`
	Under     int           `json:"under_replicated"`
	Offline   int           `json:"offline"`
	Letters   int64         `json:"letters"` // in the dead-letter topics, late rows not among them
	Groups    []groupState  `json:"groups"`
	Pipelines []pipelineRow `json:"pipelines"`
	Error     string        `json:"error,omitempty"`    // of the last look at the broker
	Answered  int64         `json:"answered,omitempty"` // when the broker last answered, milliseconds since 1970: figures are of then
	Points    []point       `json:"points,omitempty"`   // the history, in the first answer only
}

// flowTotals are what this process has counted since it started.
type flowTotals struct {
	Elapsed      float64 `json:"elapsed"` // seconds
	Produced     int64   `json:"produced"`
	Consumed     int64   `json:"consumed"`
	Transactions int64   `json:"transactions"`
	DeadLetters  int64   `json:"dead_letters"`
}

func (c *Console) overviewNow() overviewFrame {
	s := c.cluster.state()
	f := overviewFrame{
		Now: c.history.last(), Latency: "reading to readable", Devices: c.fleet.counts(),
		Brokers: s.Brokers, Topics: len(s.Topics), Parts: c.cluster.partitions(), Under: s.Under, Offline: s.Offline,
		Groups: s.Groups, Pipelines: c.pipelineRows(), Error: s.Err,
	}
	if !s.At.IsZero() {
		f.Answered = s.At.UnixMilli()
	}
	f.Letters = c.counted.total()
	if c.cfg.Look != nil {
		flow := c.cfg.Look()
		f.Latency = "reading to committed result"
		f.Flow = &flowTotals{flow.Elapsed.Seconds(), flow.Produced, flow.Consumed, flow.Transactions, flow.DeadLetters}
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
