// Package dryrun runs a pipeline without a broker: its tasks read and write topics in memory, with
// a clock that only the caller advances. Tests and previews of pipelines are built on it.
//
//	dryrun.go      Options, Simulation: topics, tasks, clock
//	schedule.go    which task reads what next; how inputs become idle and end
//	transaction.go one transaction of a task, optionally after a crash
//	lookups.go     the rows of tables that lookup joins read
//	rows.go        input rows as records with their keys; output rows
//	json.go        the program with JSON in place of formats that need a schema registry
//	preview.go     a pipeline over records of real topics
package dryrun

import (
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// Options vary how a simulation runs; its result must not depend on them.
type Options struct {
	Partitions int32
	Batch      int   // max records per transaction; 0: everything between two clock steps
	Crash      bool  // abort each transaction once before it commits, and rebuild the task from its changelog every other time
	MaxFired   int   // of operator.Config
	Seed       int64 // not 0: tasks read in a random order, a few records at a time, between sends
}

// Simulation is the tasks of a pipeline and their topics, in memory. It is not safe for concurrent
// use.
type Simulation struct {
	stopped func() error // checked before each transaction; may be nil
	program *plan.Program
	options Options
	sizes   map[string]int32 // partition counts of topics that differ from options
	topics  map[string][][]*kgo.Record
	tasks   []*task
	clock   time.Time
	ledger  *operator.Ledger
	random  *rand.Rand       // nil: tasks read in a fixed order
	dropped operator.Dropped // rows that table options drop
	crashes int              // transactions aborted by Options.Crash
	lookups lookups
}

// New creates the tasks of a pipeline over empty topics. Tables whose format needs a schema
// registry hold JSON instead; p itself is not changed. sizes are the partition counts of topics
// that differ from o.Partitions; it may be nil.
func New(p *plan.Program, o Options, sizes map[string]int32) (*Simulation, error) {
	s := &Simulation{
		program: withJSON(p),
		options: o,
		sizes:   sizes,
		topics:  make(map[string][][]*kgo.Record),
		clock:   time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		ledger:  operator.NewLedger(),
		dropped: make(operator.Dropped),
	}
	if o.Seed != 0 {
		s.random = rand.New(rand.NewPCG(uint64(o.Seed), 0)) //nolint:gosec // not for secrets
	}
	for _, stage := range s.program.Stages {
		for partition := range o.Partitions {
			t := &task{stage: stage, partition: partition, at: make(map[string]int), last: make(map[string]time.Time)}
			for _, topic := range stage.Topics() {
				t.last[topic] = s.clock
			}
			if err := s.restore(t); err != nil {
				return nil, err
			}
			s.tasks = append(s.tasks, t)
		}
	}
	for _, t := range s.program.Generated() {
		for _, value := range t.Generator.Constant {
			s.add(&kgo.Record{Topic: t.Kafka.Topic, Value: value, Timestamp: s.clock})
		}
	}
	return s, nil
}

// Dropped returns the number of rows that table options, such as json.ignore-parse-errors, have
// dropped so far.
func (s *Simulation) Dropped() operator.Dropped { return s.dropped }

// Advance advances the clock without checking for idle inputs.
func (s *Simulation) Advance(d time.Duration) { s.clock = s.clock.Add(d) }

// Append adds a record to its partition of its topic, with the next offset.
func (s *Simulation) Append(r *kgo.Record) {
	copied := *r
	s.add(&copied)
}

// size returns the partition count of a topic.
func (s *Simulation) size(topic string) int32 {
	if n := s.sizes[topic]; n > 0 {
		return n
	}
	return s.options.Partitions
}

// topic returns the partitions of a topic.
func (s *Simulation) topic(name string) [][]*kgo.Record {
	if s.topics[name] == nil {
		s.topics[name] = make([][]*kgo.Record, s.options.Partitions)
	}
	return s.topics[name]
}

func (s *Simulation) add(r *kgo.Record) {
	partitions := s.topic(r.Topic)
	r.Offset = int64(len(partitions[r.Partition]))
	partitions[r.Partition] = append(partitions[r.Partition], r)
}

// table finds a table by its topic or, failing that, by its name; nil if there is none.
func (s *Simulation) table(name string) *plan.Table {
	for _, t := range s.program.Tables {
		if t.Kafka.Topic == name {
			return t
		}
	}
	for _, t := range s.program.Tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}
