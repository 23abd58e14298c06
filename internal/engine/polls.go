package engine

import (
	"math"
	"slices"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

const (
	pollTime  = 250 * time.Millisecond // that the records of one poll may take
	leastPoll = 1000                   // records of a poll, if there are as many

	statefulFetch  = 256 << 10 // of a partition: 17,000 small rows, compressed
	statelessFetch = 1 << 20
)

// polls adapts how many records are polled at a time to the time and memory that they take, because
// a transaction can end between polls only: rows whose state is on disk take a hundred times as
// long as rows that are only filtered.
type polls struct {
	cfg     *Config
	records int // of the next poll
}

func newPolls(cfg *Config) polls { return polls{cfg, min(leastPoll, cfg.MaxRecords)} }

// adapt sets the size of the next poll from what the last one took. Fewer records than it asked for
// say little: they don't make it larger.
func (p *polls) adapt(polled int, took time.Duration, bytes int64) {
	if polled == 0 {
		return
	}
	fit := float64(polled) * min(float64(pollTime)/float64(max(took, 1)), float64(p.cfg.MaxBytes)/float64(max(bytes, 1)))
	size := p.records
	switch {
	case fit < float64(polled):
		size = int(fit)
	case polled >= p.records:
		size = int(min(fit, float64(2*p.records)))
	}
	p.records = min(max(size, leastPoll), p.cfg.MaxRecords)
}

// full reports whether the open transaction is to end.
func (s *session) full() bool {
	return s.tx.open && (s.p.attempts.limit() > 0 || time.Since(s.tx.began) >= s.commits.interval(s.tx.read) || s.tx.read >= s.w.pace.limit || s.bytes() >= s.cfg.MaxBytes)
}

// bytes returns the approximate memory of the open transaction: see Config.MaxBytes.
func (s *session) bytes() int64 {
	n := s.tx.bytes
	if s.lookups != nil && s.tx.open {
		n += s.lookups.Bytes()
	}
	for _, t := range s.tasks {
		n += t.op.Bytes() + t.store.Uncommitted()
	}
	return n
}

// recordBytes returns the approximate memory of a record.
func recordBytes(r *kgo.Record) int64 {
	return int64(len(r.Key)+len(r.Value)) + int64(unsafe.Sizeof(*r))
}

// fetchBytes is how many bytes, usually compressed, are fetched ahead from a broker.
func (c *Config) fetchBytes() int32 { return int32(min(c.MaxBytes/2, math.MaxInt32)) } //nolint:gosec // limited

// partitionBytes is how many of them are of one partition. Rows wait for state much longer than for
// fetches, so that a pipeline with state needs few of them ahead.
func (c *Config) partitionBytes() int32 {
	if slices.ContainsFunc(c.Program.Stages, func(s *plan.Stage) bool { return s.Stateful }) {
		return statefulFetch
	}
	return statelessFetch
}
