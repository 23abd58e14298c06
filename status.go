package weir

import (
	"time"

	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/sink"
)

// Result counts what a run committed.
type Result struct {
	Records      int64 // read
	Outputs      int64 // rows written to the tables of the INSERTs
	Late         int64 // rows that arrived after their window had closed, written to NAME.late
	DeadLetters  int64 // records that could not be processed, written to NAME.dlq
	Skipped      int64 // offsets deleted before they were read
	Transactions int64 // committed
	Aborted      int64 // transactions; their records were read again
}

func resultOf(r engine.Result) Result {
	return Result{
		Records: r.Records, Outputs: r.Outputs, Late: r.Late, DeadLetters: r.DeadLetters, Skipped: r.Skipped,
		Transactions: r.Transactions, Aborted: r.Aborted,
	}
}

// Phase is the lifecycle state of a worker.
type Phase string

// Phases of a worker.
const (
	Starting  = Phase(engine.Starting)  // acquiring its transactional id and joining the group
	Restoring = Phase(engine.Restoring) // reading the state of its partitions
	Running   = Phase(engine.Running)
	Waiting   = Phase(engine.Waiting)  // for a service such as a schema registry, named in Reason
	Retrying  = Phase(engine.Retrying) // after an error, given in Reason
	Stopped   = Phase(engine.Stopped)
	Failed    = Phase(engine.Failed) // permanently; the cause is in Reason
)

// Status is a snapshot of one process's share of a pipeline. Counters start at 0 with each run.
type Status struct {
	Pipeline string
	Workers  []WorkerStatus // sorted by instance

	Records     int64 // read, including between the pipeline's stages
	Outputs     int64 // written to tables and between stages
	Late        int64
	DeadLetters int64
	Lag         int64 // committed records not yet read, as of the last read of their partitions

	Sinks []SinkStatus // of tables outside of Kafka, in the order of the INSERTs

	LatencyP50 time.Duration // from a record's timestamp to its commit, over recent records
	LatencyP99 time.Duration

	active bool
}

// WorkerStatus is one worker of a pipeline.
type WorkerStatus struct {
	Instance   string
	Phase      Phase
	Since      time.Time // of Phase
	Reason     string    // of Phase; may be empty
	Sessions   int64     // its restarts, plus 1
	Committed  int64     // transactions
	LastCommit time.Time // zero before the first
}

// SinkStatus is the delivery of one table to a target outside of Kafka, such as a database. A
// target that is down does not stop the pipeline: its rows wait in a topic.
type SinkStatus struct {
	Table       string
	Target      string // without its address
	Phase       string // starting, delivering, waiting (retrying), refused (until somebody changes something) or stopped
	Reason      string // of Phase; may be empty
	Rows        int64  // written
	Deletes     int64  // of rows
	DeadLetters int64  // rows that the target refused
	Retries     int64
	Lag         int64     // offsets that are not delivered yet
	LastError   time.Time // zero without one
}

// Ready reports whether a run is in progress with all its workers in phase Running, as a readiness
// probe requires.
func (s Status) Ready() bool {
	for _, w := range s.Workers {
		if w.Phase != Running {
			return false
		}
	}
	return s.active && len(s.Workers) > 0
}

func statusOf(s engine.Snapshot, sinks []*sink.Status, active bool) Status {
	all := Status{Pipeline: s.Pipeline, LatencyP50: time.Duration(s.P50), LatencyP99: time.Duration(s.P99), active: active}
	for _, w := range s.Workers {
		all.Workers = append(all.Workers, WorkerStatus{
			Instance: w.Instance, Phase: Phase(w.Phase), Since: w.Since, Reason: w.Reason,
			Sessions: w.Sessions, Committed: w.Committed, LastCommit: w.LastCommit,
		})
	}
	for _, of := range sinks {
		now := of.Snapshot()
		all.Sinks = append(all.Sinks, SinkStatus{
			Table: now.Table, Target: now.Target, Phase: string(now.Phase), Reason: now.Reason, Rows: now.Rows, Deletes: now.Deletes,
			DeadLetters: now.DeadLetters, Retries: now.Retries, Lag: now.Lag, LastError: now.LastErrorAt,
		})
	}
	for _, t := range s.Tasks {
		all.Records += t.Records
		all.Outputs += t.Outputs
		all.Late += t.Late
		all.DeadLetters += t.DeadLetters
		for _, in := range t.Inputs {
			all.Lag += in.Lag
		}
	}
	return all
}
