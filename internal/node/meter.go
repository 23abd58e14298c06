package node

import (
	"slices"
	"sync"
	"time"
)

// Snapshot is the progress of a running node.
type Snapshot struct {
	Elapsed      time.Duration
	Produced     int64         // readings committed by the producer in this run
	ProducedRate float64       // per second, over the last rateWindow
	Consumed     int64         // records committed by the consumer in this run
	ConsumedRate float64       // per second, over the last rateWindow
	Transactions int64         // committed, of both
	DeadLetters  int64         // of both
	P50, P99     time.Duration // from a reading's record to its committed result; 0 while unknown
	Open         int           // open transactions of the broker; -1 if unknown
}

// meter counts what the producer and the consumer commit. It is safe for concurrent use.
type meter struct {
	mu        sync.Mutex
	started   time.Time
	now       Snapshot
	samples   []sample // one per snapshot, oldest first
	latencies []time.Duration
	next      int // in latencies, which is a ring once it is full
}

type sample struct {
	at                 time.Time
	produced, consumed int64
}

const (
	rateWindow     = 5 * time.Second
	latencySamples = 4096
)

func newMeter() *meter { return &meter{started: time.Now(), now: Snapshot{Open: -1}} }

func (m *meter) produced(readings, deadLetters int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Produced += int64(readings)
	m.now.DeadLetters += int64(deadLetters)
	m.now.Transactions++
}

func (m *meter) consumed(records, deadLetters int, latencies []time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Consumed += int64(records)
	m.now.DeadLetters += int64(deadLetters)
	m.now.Transactions++
	for _, l := range latencies {
		if len(m.latencies) < latencySamples {
			m.latencies = append(m.latencies, l)
			continue
		}
		m.latencies[m.next] = l
		m.next = (m.next + 1) % latencySamples
	}
}

func (m *meter) open(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Open = n
}

// snapshot returns the current counters, with rates over the snapshots of the last rateWindow.
func (m *meter) snapshot() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.samples = append(m.samples, sample{now, m.now.Produced, m.now.Consumed})
	for len(m.samples) > 2 && now.Sub(m.samples[0].at) > rateWindow {
		m.samples = m.samples[1:]
	}
	s := m.now
	s.Elapsed = now.Sub(m.started)
	if first := m.samples[0]; now.After(first.at) {
		seconds := now.Sub(first.at).Seconds()
		s.ProducedRate = float64(s.Produced-first.produced) / seconds
		s.ConsumedRate = float64(s.Consumed-first.consumed) / seconds
	}
	if len(m.latencies) > 0 {
		sorted := slices.Clone(m.latencies)
		slices.Sort(sorted)
		s.P50 = sorted[len(sorted)/2]
		s.P99 = sorted[len(sorted)*99/100]
	}
	return s
}
