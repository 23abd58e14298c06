package node

import (
	"slices"
	"sync"
	"time"
)

// Snapshot is what a running node shows.
type Snapshot struct {
	Elapsed      time.Duration
	Produced     int64         // readings committed by the producer in this run
	ProducedRate float64       // a second, over the last window
	Consumed     int64         // records committed by the consumer in this run
	ConsumedRate float64       // a second, over the last window
	Transactions int64         // committed, of both
	DeadLetters  int64         // of both
	P50, P99     time.Duration // from a reading's record to its committed result; 0 until one is known
	Open         int           // transactions that the broker has open; -1 when it did not answer
}

// meter collects what both sides commit. It is safe for use by several goroutines.
type meter struct {
	mu        sync.Mutex
	started   time.Time
	now       Snapshot
	marks     []mark // one a look, the oldest first
	latencies []time.Duration
	next      int
}

type mark struct {
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

// look returns the state now; rates are over the looks of the last window.
func (m *meter) look() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.marks = append(m.marks, mark{now, m.now.Produced, m.now.Consumed})
	for len(m.marks) > 2 && now.Sub(m.marks[0].at) > rateWindow {
		m.marks = m.marks[1:]
	}
	s := m.now
	s.Elapsed = now.Sub(m.started)
	if first := m.marks[0]; now.After(first.at) {
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
