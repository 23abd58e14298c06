package produce

import (
	"sync"
	"time"

	"weir.example/weir/internal/metric"
)

// Status is the state of a running producer, updated once per transaction. It is safe for
// concurrent use.
type Status struct {
	mu  sync.Mutex
	now Snapshot
}

// Phase is the lifecycle state of a producer.
type Phase string

// Phases of a producer.
const (
	Starting Phase = "starting" // acquiring the source and looking up its position
	Running  Phase = "running"
	Retrying Phase = "retrying" // after its session failed with Reason; a new one follows
	Stopped  Phase = "stopped"
)

// Reasons for aborting a transaction. The set is fixed, for use as a metric label.
const (
	AbortWrite   = "write"   // a record could not be written
	AbortTimeout = "timeout" // it exceeded its timeout, and the broker aborted it
	AbortFenced  = "fenced"  // another producer has taken over the source
	AbortUnknown = "unknown" // the commit was not acknowledged, and the log does not have it
)

var abortReasons = []string{AbortWrite, AbortTimeout, AbortFenced, AbortUnknown}

// Snapshot is the state of a producer at one moment. Counts are of this process.
type Snapshot struct {
	Source      string           `json:"source"`
	Phase       Phase            `json:"phase"`
	Since       time.Time        `json:"since"`            // of the phase
	Reason      string           `json:"reason,omitempty"` // of a retry
	Readings    int64            `json:"readings"`
	Bytes       int64            `json:"bytes"` // of keys and values, before compression
	DeadLetters int64            `json:"dead_letters"`
	Causes      map[string]int64 `json:"dead_letter_causes,omitempty"`
	Sessions    int64            `json:"sessions"`
	Committed   int64            `json:"committed"`
	Aborted     map[string]int64 `json:"aborted"` // by reason
	LastCommit  time.Time        `json:"last_commit,omitzero"`
	CommitTook  metric.Seconds   `json:"commit_seconds"` // of the last transaction
}

// NewStatus returns the status of a producer that is about to run.
func NewStatus(source string) *Status {
	return &Status{now: Snapshot{Source: source, Phase: Starting, Since: time.Now()}}
}

// Snapshot returns a copy of the current state.
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
	s.now.DeadLetters += int64(c.DeadLetters)
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
