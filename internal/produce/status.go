package produce

import (
	"sync"
	"time"

	"weir.example/weir/internal/metric"
)

// Status is what a running producer does, for whoever asks while it runs. It is written once a
// transaction.
type Status struct {
	mu  sync.Mutex
	now Snapshot
}

// Phase is what a producer is at.
type Phase string

// Phases of a producer, in the order in which it goes through them.
const (
	Starting Phase = "starting" // takes the source over and finds its position
	Running  Phase = "running"
	Retrying Phase = "retrying" // its session broke, for Reason; a new one follows
	Stopped  Phase = "stopped"
)

// Reasons why a transaction was aborted. There are no others, so that they can be a label.
const (
	AbortWrite   = "write"   // a record could not be written
	AbortTimeout = "timeout" // it took longer than its timeout, and the broker ended it
	AbortFenced  = "fenced"  // another producer has the source
	AbortUnknown = "unknown" // the commit was not answered, and the log does not have it
)

var abortReasons = []string{AbortWrite, AbortTimeout, AbortFenced, AbortUnknown}

// Snapshot is a producer at one moment. What it counts is of this process.
type Snapshot struct {
	Source     string           `json:"source"`
	Phase      Phase            `json:"phase"`
	Since      time.Time        `json:"since"`            // of the phase
	Reason     string           `json:"reason,omitempty"` // why it retries
	Readings   int64            `json:"readings"`
	Bytes      int64            `json:"bytes"` // of keys and values, before compression
	Letters    int64            `json:"dead_letters"`
	Causes     map[string]int64 `json:"dead_letter_causes,omitempty"`
	Sessions   int64            `json:"sessions"`
	Committed  int64            `json:"committed"`
	Aborted    map[string]int64 `json:"aborted"` // by reason
	LastCommit time.Time        `json:"last_commit,omitzero"`
	CommitTook metric.Seconds   `json:"commit_seconds"` // the last transaction
}

// NewStatus makes the status of a producer of a source that is about to run.
func NewStatus(source string) *Status {
	return &Status{now: Snapshot{Source: source, Phase: Starting, Since: time.Now()}}
}

// Snapshot copies what is known now.
func (s *Status) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now
	now.Aborted, now.Causes = copyCounts(now.Aborted), copyCounts(now.Causes)
	return now
}

func copyCounts(m map[string]int64) map[string]int64 {
	all := make(map[string]int64, len(m))
	for k, v := range m {
		all[k] = v
	}
	return all
}

func (s *Status) phase(p Phase, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p == Starting {
		s.now.Sessions++
	}
	if s.now.Phase != p {
		s.now.Since = time.Now()
	}
	s.now.Phase, s.now.Reason = p, reason
}

func (s *Status) committed(c *Commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Committed++
	s.now.Readings += int64(c.Readings)
	s.now.Bytes += int64(c.Bytes)
	s.now.Letters += int64(c.DeadLetters)
	s.now.LastCommit, s.now.CommitTook = time.Now(), metric.Seconds(c.Took)
	for cause, n := range c.Causes {
		if s.now.Causes == nil {
			s.now.Causes = make(map[string]int64)
		}
		s.now.Causes[cause] += int64(n)
	}
}

func (s *Status) aborted(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Aborted == nil {
		s.now.Aborted = make(map[string]int64)
	}
	s.now.Aborted[reason]++
}
