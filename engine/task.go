package engine

import (
	"github.com/twmb/franz-go/pkg/kgo"
)

// Processor is a processing over a keyed topic.
type Processor interface {
	// NewTask returns the task of an input partition, without state.
	NewTask(partition int32) Task
}

// Task processes one input partition. Its step is pure: no clock, no random numbers, no I/O; the same
// records give the same outputs. One goroutine calls it.
//
// Steps between two calls of Commit or Abort belong to one transaction. Their changes of state are an
// overlay that later steps see; Commit makes it the state, Abort drops it.
type Task interface {
	// Restore applies one committed record of the changelog, oldest first. No step comes before the last.
	Restore(r *kgo.Record) error

	// Step processes records of the partition in offset order. A record that can't be processed goes to
	// out.DeadLetter. An error stops the loop: nothing of the transaction becomes visible.
	Step(in []*kgo.Record, out *Output) error

	// Flush writes what the transaction has changed: results and changelog. It comes once, after the last step.
	Flush(out *Output) error

	Commit()
	Abort()
}

// Output collects what a transaction writes. Records and what they refer to must stay as they are until
// the transaction has ended.
type Output struct {
	records []*kgo.Record
	letters []letter
}

type letter struct {
	in     *kgo.Record
	reason error
}

// Emit adds a record. Topic and Partition must be set.
func (o *Output) Emit(r *kgo.Record) { o.records = append(o.records, r) }

// DeadLetter sets a record aside with the reason why it can't be processed.
func (o *Output) DeadLetter(in *kgo.Record, reason error) {
	o.letters = append(o.letters, letter{in, reason})
}

func (o *Output) reset() {
	clear(o.records)
	clear(o.letters)
	o.records, o.letters = o.records[:0], o.letters[:0]
}
