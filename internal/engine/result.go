package engine

import (
	"time"

	"weir.example/weir/internal/operator"
)

// Commit sums up one committed transaction.
type Commit struct {
	Records     int // read from sources
	Outputs     int // rows written to the tables of INSERTs, without those on their way between stages
	DeadLetters int
	Causes      map[string]int // of the dead letters
	Dropped     operator.Dropped
	Late        int
	Ahead       int             // rows that did not advance the watermark: see plan.Settings.MaxAhead
	Expired     int             // keys of the state: see plan.Settings.StateTTL
	Took        time.Duration   // from its first record to the broker's answer
	Latencies   []time.Duration // from a record's timestamp to the commit, for a sample of the records
}

// Result sums up a run.
type Result struct {
	Records      int64 `json:"records"`
	Outputs      int64 `json:"outputs"`
	DeadLetters  int64 `json:"dead_letters"`
	Late         int64 `json:"late"`
	Ahead        int64 `json:"ahead,omitempty"` // rows too far in the future to advance the watermark
	Skipped      int64 `json:"skipped"`         // offsets of sources that were deleted before they were read
	Transactions int64 `json:"transactions"`

	// Dropped counts what options such as json.ignore-parse-errors left out.
	Dropped operator.Dropped `json:"dropped,omitempty"`

	Aborted     int64 `json:"aborted"`
	Sessions    int64 `json:"sessions"`                  // 1 more than the number of restarts
	FirstRecord int64 `json:"first_record_ms,omitempty"` // when it read its first record, in milliseconds since 1970
}

// add counts a committed transaction.
func (r *Result) add(c Commit) {
	r.Transactions++
	r.Records += int64(c.Records)
	r.Outputs += int64(c.Outputs)
	r.DeadLetters += int64(c.DeadLetters)
	r.Late += int64(c.Late)
	r.Ahead += int64(c.Ahead)
	r.addDropped(c.Dropped)
}

func (r *Result) addDropped(more operator.Dropped) {
	if r.Dropped == nil && len(more) > 0 {
		r.Dropped = make(operator.Dropped)
	}
	r.Dropped.Add(more)
}

// merge adds the result of another worker.
func (r *Result) merge(o Result) {
	r.Records += o.Records
	r.Outputs += o.Outputs
	r.DeadLetters += o.DeadLetters
	r.Late += o.Late
	r.Ahead += o.Ahead
	r.addDropped(o.Dropped)
	r.Transactions += o.Transactions
	r.Aborted += o.Aborted
	r.Sessions += o.Sessions
	if o.FirstRecord != 0 && (r.FirstRecord == 0 || o.FirstRecord < r.FirstRecord) {
		r.FirstRecord = o.FirstRecord
	}
}

func sum(status *Status, results []Result) (all Result) {
	for _, r := range results {
		all.merge(r)
	}
	all.Skipped = status.allSkipped()
	return all
}
