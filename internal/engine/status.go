package engine

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/metric"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// Status describes a running pipeline: its workers, its tasks and their progress. Workers update it
// once per transaction, never per record. It may be read at any time. Its counters are those of
// this process and only grow; a reader computes rates from two snapshots.
type Status struct {
	pipeline string
	group    string
	now      func() time.Time

	mu            sync.Mutex
	started       time.Time
	workers       map[string]*WorkerStatus // by instance
	tasks         map[taskID]*TaskStatus
	causes        map[string]int64 // of dead letters
	dropped       operator.Dropped
	skipped       map[string]int64 // offsets, by topic
	skippedRanges []SkippedRange   // the last ones
	gaps          map[gapKey]int64 // next offset to count
	recreations   []Recreation
	hanging       []broker.Transaction
	latencies     []time.Duration // of the last records, as a ring
	next          int             // in the ring
	noCopies      string          // why the state is in memory only
	sources       []string        // topics of the tables that are read
	droppable     []operator.Drop // what options of its tables may drop
}

// NewStatus creates the status of a pipeline that is about to run.
func NewStatus(p *plan.Program) *Status {
	sources, droppable := countable(p)
	return &Status{
		sources: sources, droppable: droppable,
		pipeline: p.Name, group: Group(p), now: time.Now, started: time.Now(),
		workers: make(map[string]*WorkerStatus), tasks: make(map[taskID]*TaskStatus), causes: make(map[string]int64), dropped: make(operator.Dropped),
		skipped: make(map[string]int64), gaps: make(map[gapKey]int64),
	}
}

// Phase is the lifecycle state of a worker.
type Phase string

// Phases of a worker, in their usual order.
const (
	Starting  Phase = "starting"  // acquires its transactional id, joins the group
	Restoring Phase = "restoring" // reads the state of its tasks
	Running   Phase = "running"
	Waiting   Phase = "waiting"  // for something external, such as a schema registry or a database: see Reason
	Retrying  Phase = "retrying" // its session failed with Reason; a new one follows
	Stopped   Phase = "stopped"
	Failed    Phase = "failed" // permanently, with Reason: it has to be fixed and started again
)

// Reasons for aborted transactions. The set is closed, so that they can be a metric label.
const (
	AbortRebalance = "rebalance" // partitions moved: their new owners read the records again
	AbortWrite     = "write"     // a record could not be written
	AbortSchema    = "schema"    // a schema is not known yet: its partition waits, and the others are read again
	AbortLookup    = "lookup"    // the database of a lookup join has not answered: the records are read again
	AbortProcess   = "process"   // processing, reading or the state failed, and the session with it
	AbortUnknown   = "unknown"   // the commit has no answer: the next session finds out from the log
)

var abortReasons = []string{AbortRebalance, AbortWrite, AbortSchema, AbortLookup, AbortProcess, AbortUnknown}

// Snapshot is the status of a pipeline at one moment.
type Snapshot struct {
	Pipeline      string               `json:"pipeline"`
	Group         string               `json:"group"`
	At            time.Time            `json:"at"`
	Started       time.Time            `json:"started"`
	P50           metric.Seconds       `json:"latency_p50_seconds"` // from a record's timestamp to the commit, for the last records
	P99           metric.Seconds       `json:"latency_p99_seconds"`
	Causes        map[string]int64     `json:"dead_letter_causes"`
	Dropped       operator.Dropped     `json:"dropped"`                  // by options such as json.ignore-parse-errors
	Skipped       map[string]int64     `json:"skipped_offsets"`          // by topic: deleted before they were read
	SkippedRanges []SkippedRange       `json:"skipped_ranges,omitempty"` // the last ones
	Recreations   []Recreation         `json:"recreated_sources,omitempty"`
	Hanging       []broker.Transaction `json:"hanging_transactions,omitempty"` // that block the pipeline, with what is known about their end
	NoCopies      string               `json:"local_copies_lost,omitempty"`    // why configured local copies are not kept
	Workers       []WorkerStatus       `json:"workers"`
	Tasks         []TaskStatus         `json:"tasks"`
}

// WorkerStatus is one worker of this process.
type WorkerStatus struct {
	Instance string    `json:"instance"`
	Phase    Phase     `json:"phase"`
	Since    time.Time `json:"since"`            // when the phase began
	Reason   string    `json:"reason,omitempty"` // why it waits, retries or has failed

	Sessions   int64            `json:"sessions"`
	Committed  int64            `json:"committed"`
	Aborted    map[string]int64 `json:"aborted"` // by reason
	LastCommit time.Time        `json:"last_commit,omitzero"`
	CommitTook metric.Seconds   `json:"commit_seconds"` // of the last transaction, from its first record to the broker's answer
}

// TaskStatus is one stage on one partition.
type TaskStatus struct {
	Stage     string `json:"stage"`
	Partition int32  `json:"partition"`
	Worker    string `json:"worker,omitempty"` // instance; "" while another process has the partition

	Inputs      []InputStatus `json:"inputs"`
	Records     int64         `json:"records"` // read
	Outputs     int64         `json:"outputs"` // records written to tables and repartition topics
	Late        int64         `json:"late"`
	DeadLetters int64         `json:"dead_letters"`
	Ended       bool          `json:"ended"` // all inputs have ended

	Operators []OperatorStatus `json:"operators"` // inputs first

	StateEntries int64         `json:"state_entries"`
	StateBytes   int64         `json:"state_bytes"` // of memory
	Restore      RestoreStatus `json:"restore"`
}

// InputStatus is what a task reads.
type InputStatus struct {
	Topic     string     `json:"topic"`
	Records   int64      `json:"records"`
	Position  int64      `json:"position"`            // offset of the next record; -1 until one is read
	End       int64      `json:"end"`                 // end of committed records when it was last read; -1 before
	Lag       int64      `json:"lag"`                 // records from Position to End
	Behind    float64    `json:"lag_seconds"`         // age of the last record that was read, 0 without lag
	Last      time.Time  `json:"last,omitzero"`       // timestamp of the last record that was read
	Watermark *time.Time `json:"watermark,omitempty"` // nil if there is none yet
	Idle      bool       `json:"idle"`                // other inputs do not wait for it
}

// OperatorStatus counts the output of one operator of a stage.
type OperatorStatus struct {
	Relation  int        `json:"relation"`            // its number in the plan
	Rows      int64      `json:"rows"`                // records, of one that writes to a topic
	Watermark *time.Time `json:"watermark,omitempty"` // nil if there is none yet
	Idle      bool       `json:"idle"`                // other inputs do not wait for it
}

// RestoreStatus describes the last restore of a task's state.
type RestoreStatus struct {
	Began   time.Time      `json:"began,omitzero"`
	Records int64          `json:"records"` // read so far
	Of      int64          `json:"of"`      // offsets to read, including markers, so that Records may stay below
	Took    metric.Seconds `json:"seconds"` // once it is done
	Done    bool           `json:"done"`
}

const statusLatencies = 2048

// Snapshot returns a copy of the current status. Workers are sorted by instance, tasks by stage and
// partition.
func (s *Status) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	all := Snapshot{
		Pipeline: s.pipeline, Group: s.group, At: now, Started: s.started, Causes: maps.Clone(s.causes), NoCopies: s.noCopies, Dropped: maps.Clone(s.dropped),
		Workers: make([]WorkerStatus, 0, len(s.workers)), Tasks: make([]TaskStatus, 0, len(s.tasks)),
	}
	all.SkippedRanges, all.Skipped = s.copySkipped()
	all.Recreations = slices.Clone(s.recreations)
	all.Hanging = slices.Clone(s.hanging)
	for _, w := range s.workers {
		c := *w
		c.Aborted = maps.Clone(w.Aborted)
		all.Workers = append(all.Workers, c)
	}
	for _, t := range s.tasks {
		c := *t
		c.Inputs, c.Operators = slices.Clone(t.Inputs), slices.Clone(t.Operators)
		for i := range c.Inputs {
			if in := &c.Inputs[i]; in.Lag > 0 {
				in.Behind = max(0, now.Sub(in.Last).Seconds())
			}
		}
		all.Tasks = append(all.Tasks, c)
	}
	slices.SortFunc(all.Workers, func(a, b WorkerStatus) int { return strings.Compare(a.Instance, b.Instance) })
	slices.SortFunc(all.Tasks, func(a, b TaskStatus) int {
		return cmp.Or(cmp.Compare(len(a.Stage), len(b.Stage)), strings.Compare(a.Stage, b.Stage), cmp.Compare(a.Partition, b.Partition))
	})
	if n := len(s.latencies); n > 0 {
		sorted := slices.Clone(s.latencies)
		slices.Sort(sorted)
		all.P50, all.P99 = metric.Seconds(sorted[n/2]), metric.Seconds(sorted[n*99/100])
	}
	return all
}

// copiesLost notes why the state has no local copies from now on.
func (s *Status) copiesLost(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noCopies = reason
}

// Fail notes that a worker has failed permanently, and why.
func (s *Status) Fail(instance, reason string) { s.phase(instance, Failed, reason) }

// Wait notes what external thing a worker waits for. An empty reason means that it runs again.
func (s *Status) Wait(instance, reason string) {
	if reason == "" {
		s.phase(instance, Running, "")
		return
	}
	s.phase(instance, Waiting, reason)
}

func (s *Status) worker(instance string) *WorkerStatus {
	w := s.workers[instance]
	if w == nil {
		w = &WorkerStatus{Instance: instance, Aborted: make(map[string]int64)}
		s.workers[instance] = w
	}
	return w
}

func (s *Status) phase(instance string, p Phase, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.worker(instance)
	if p == Starting {
		w.Sessions++
	}
	if w.Phase != p {
		w.Since = s.now()
	}
	w.Phase, w.Reason = p, reason
}

// joined notes that a worker is in the group. Without partitions it has nothing to restore.
func (s *Status) joined(instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.worker(instance); w.Phase == Starting {
		w.Phase, w.Since = Running, s.now()
	}
}

func (s *Status) aborted(instance, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worker(instance).Aborted[reason]++
}

// committed adds what the tasks of a worker have done in a transaction. It returns the kinds of
// data that were dropped for the first time.
func (s *Status) committed(instance string, done Commit, tasks map[taskID]*task) (first []operator.Drop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	w := s.worker(instance)
	w.Committed++
	w.LastCommit, w.CommitTook = now, metric.Seconds(done.Took)
	for id, t := range tasks {
		if t.counts.any {
			s.task(id, instance, t).add(t, now)
		}
	}
	for cause, n := range done.Causes {
		s.causes[cause] += int64(n)
	}
	for _, l := range done.Latencies {
		if len(s.latencies) < statusLatencies {
			s.latencies = append(s.latencies, l)
			continue
		}
		s.latencies[s.next] = l
		s.next = (s.next + 1) % statusLatencies
	}
	for drop := range done.Dropped {
		if s.dropped[drop] == 0 {
			first = append(first, drop)
		}
	}
	s.dropped.Add(done.Dropped)
	return first
}

func (s *Status) task(id taskID, instance string, t *task) *TaskStatus {
	all := s.tasks[id]
	if all == nil {
		all = &TaskStatus{Stage: id.stage, Partition: id.partition}
		for _, topic := range t.stage.Topics() {
			all.Inputs = append(all.Inputs, InputStatus{Topic: topic, Position: -1, End: -1})
		}
		s.tasks[id] = all
	}
	all.Worker = instance
	return all
}

// restoring notes the progress of a task's restore.
func (s *Status) restoring(instance string, t *task, records, of int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.task(taskID{t.stage.Name, t.partition}, instance, t).Restore
	if r.Began.IsZero() || r.Done {
		*r = RestoreStatus{Began: s.now()}
	}
	r.Records, r.Of = records, of
}

// restored notes that a task's state is restored.
func (s *Status) restored(instance string, t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	all := s.task(taskID{t.stage.Name, t.partition}, instance, t)
	if !all.Restore.Began.IsZero() {
		all.Restore.Done, all.Restore.Took = true, metric.Seconds(now.Sub(all.Restore.Began))
	}
	all.measure(t, now)
	all.progress(t)
}

// released notes that a worker no longer has a task. The counters are kept, but not the position.
func (s *Status) released(instance string, id taskID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[id]
	if t == nil || t.Worker != instance {
		return // another worker has acquired it
	}
	t.Worker, t.StateEntries, t.StateBytes = "", 0, 0
	for i := range t.Inputs {
		in := &t.Inputs[i]
		in.Position, in.End, in.Lag, in.Watermark, in.Idle = -1, -1, 0, nil, false
	}
	for i := range t.Operators {
		t.Operators[i].Watermark, t.Operators[i].Idle = nil, false
	}
}

// measureInterval is the time between two measurements of a state's memory, which are slow with a
// local copy.
const measureInterval = 200 * time.Millisecond

func (s *TaskStatus) add(t *task, now time.Time) {
	d := &t.counts
	s.Outputs += d.outputs
	s.Late += d.late
	s.DeadLetters += d.deadLetters
	for i := range s.Inputs {
		in := &s.Inputs[i]
		if r, ok := d.inputs[in.Topic]; ok {
			in.Records += r.records
			s.Records += r.records
			in.Position, in.End, in.Lag, in.Last = r.next, r.end, r.end-r.next, r.last
		}
	}
	s.measure(t, now)
	s.progress(t)
	d.reset()
}

func (s *TaskStatus) measure(t *task, now time.Time) {
	s.StateEntries = int64(t.store.Len())
	if now.Sub(t.measured) >= measureInterval {
		t.measured, s.StateBytes = now, t.store.Bytes()
	}
}

// progress copies the watermarks of a task, and adds the output of its operators since the last
// call.
func (s *TaskStatus) progress(t *task) {
	if t.op == nil {
		return
	}
	s.Ended = t.op.Ended()
	for i := range s.Inputs {
		in := &s.Inputs[i]
		at, known, idle := t.op.Watermark(in.Topic)
		in.Watermark, in.Idle = nil, idle
		if known {
			in.Watermark = &at
		}
	}
	n := 0
	t.op.Flows(func(f operator.Flow) {
		if n == len(s.Operators) {
			s.Operators = append(s.Operators, OperatorStatus{Relation: f.Relation})
		}
		o := &s.Operators[n]
		o.Rows, o.Watermark, o.Idle = o.Rows+f.Rows, f.Watermark, f.Idle
		n++
	})
}
