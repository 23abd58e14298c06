package sink

import (
	"maps"
	"sync"
	"time"

	"weir.example/weir/internal/plan"
)

// Phase is what a sink is doing.
type Phase string

// Phases of a sink.
const (
	Starting   Phase = "starting"   // waiting for its topic, or connecting
	Delivering Phase = "delivering" // connected; it delivers rows as they arrive
	Waiting    Phase = "waiting"    // retrying after an error, such as a target that is down
	Refused    Phase = "refused"    // the target can't take the table until somebody changes something
	Stopped    Phase = "stopped"
)

// Phases lists all phases.
var Phases = []Phase{Starting, Delivering, Waiting, Refused, Stopped}

// Snapshot is the state of one table's sink in this process. Counters start at 0 with each run.
type Snapshot struct {
	Pipeline string    `json:"pipeline"`
	Table    string    `json:"table"`
	Target   string    `json:"target"` // without its address
	Topic    string    `json:"topic"`
	Phase    Phase     `json:"phase"`
	Since    time.Time `json:"since"` // of Phase
	Reason   string    `json:"reason,omitempty"`

	Rows        int64 `json:"rows"`    // written
	Deletes     int64 `json:"deletes"` // of rows
	DeadLetters int64 `json:"dead_letters"`
	Retries     int64 `json:"retries"`    // after errors
	Lag         int64 `json:"lag"`        // offsets of this process's partitions that are not delivered
	Partitions  int   `json:"partitions"` // of this process

	LastDelivery time.Time `json:"last_delivery,omitzero"`
	LastError    string    `json:"last_error,omitempty"`
	LastErrorAt  time.Time `json:"last_error_at,omitzero"`
}

// Delivery counts what a batch contained.
type Delivery struct {
	Records, Rows, Deletes, Letters int
}

// Status is kept up to date by a sink. Its methods may be called concurrently.
type Status struct {
	mu     sync.Mutex
	now    func() time.Time
	s      Snapshot
	known  map[int32]int64 // positions of the partitions that this process has, or has had
	owning bool            // known are those that it has
	starts map[int32]int64
	end    map[int32]int64
	hurry  bool // AwaitDelivered waits for the rows
}

func (s *Status) await() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurry = true
}

func (s *Status) awaited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hurry
}

// NewStatus returns the status of a table's sink that has not started.
func NewStatus(pipeline string, t *plan.Table) *Status {
	return &Status{
		now: time.Now, known: make(map[int32]int64),
		s: Snapshot{Pipeline: pipeline, Table: t.Name, Target: t.Delivery.String(), Topic: t.Kafka.Topic, Phase: Starting, Since: time.Now()},
	}
}

// Snapshot returns a copy.
func (s *Status) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.s
	for p, end := range s.end {
		at, ok := s.known[p]
		if !ok {
			if s.owning {
				continue // another process has it
			}
			at = s.starts[p]
		}
		c.Lag += max(0, end-at)
	}
	return c
}

func (s *Status) set(p Phase, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s.Phase != p {
		s.s.Phase, s.s.Since = p, s.now()
	}
	s.s.Reason = ""
	if reason != nil {
		s.s.Reason = reason.Error()
	}
}

func (s *Status) failed(p Phase, err error) {
	s.set(p, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Retries++
	s.s.Partitions = 0
	if err != nil {
		s.s.LastError, s.s.LastErrorAt = err.Error(), s.now()
	}
}

func (s *Status) ends(starts, ends map[int32]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts, s.end = starts, ends
}

func (s *Status) owned(next map[int32]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.owning, s.s.Partitions = maps.Clone(next), true, len(next)
}

func (s *Status) delivered(next map[int32]int64, d Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.owning, s.s.Partitions = maps.Clone(next), true, len(next)
	s.s.Rows += int64(d.Rows)
	s.s.Deletes += int64(d.Deletes)
	s.s.DeadLetters += int64(d.Letters)
	s.s.LastDelivery = s.now()
}
