package engine

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/trace"
	"weir.example/weir/internal/transact"
)

// transaction is the transaction of a session: what was read, computed and sent since begin. The
// session uses one after the other, in the same value.
//
// Rows go to the client as soon as a task emits them, so that the client packs and sends them while
// the next ones are computed. State, dead letters and late rows follow when the transaction is
// completed.
type transaction struct {
	p      *pipeline
	group  *transact.Group
	tables map[string]bool // topics of the tables that the pipeline writes
	tracer *trace.Client   // nil if no record is traced

	attempted map[topicPartition]bool // partitions of which it has read records

	open    bool
	began   time.Time
	at      time.Time // the transaction's time, of Config.Now
	read    int       // records
	bytes   int64     // of them
	sourced int       // of them, those of tables
	sample  []time.Time

	out     operator.Output // not sent yet
	counted outputCount     // of out, what is attributed to tasks
	rows    int             // sent to tables

	ctx     context.Context // limits how long its records may take
	release context.CancelFunc
	written *broker.Writes

	aborting string // why the session aborts it; "" if the group rebalances

	spans []trace.Span // of the traced records
	whole trace.Whole
}

// begin begins a transaction, which must end within the transaction timeout.
func (tx *transaction) begin(sessions *transact.Sessions) error {
	if err := tx.group.Begin(); err != nil {
		return err
	}
	ctx, release := context.WithTimeout(sessions.Work, tx.p.cfg.TransactionTimeout)
	if err := sessions.Begun(ctx, tx.group.Client); err != nil {
		release()
		return err
	}
	tx.ctx, tx.release = ctx, release
	tx.open, tx.began, tx.at = true, time.Now(), tx.p.cfg.Now()
	tx.written = broker.NewWrites(tx.group.Client)
	return nil
}

// produce gives a record to the client. Its error, if any, is one of written.
func (tx *transaction) produce(r *kgo.Record) {
	if err := tx.p.hasPartition(r); err != nil {
		tx.written.Refuse(r, err)
		return
	}
	tx.written.Produce(tx.ctx, r)
}

// hasPartition refuses a record for a partition that its topic did not have when the pipeline
// started.
func (p *pipeline) hasPartition(r *kgo.Record) error {
	if n := p.partitions[r.Topic]; r.Partition < 0 || r.Partition >= n {
		return fmt.Errorf("write to %s-%d of %d partitions: %w", r.Topic, r.Partition, n, broker.ErrNoPartition)
	}
	return nil
}

// send produces the rows that a task has emitted.
func (tx *transaction) send(t *task) {
	tx.counted.attribute(&tx.out, t)
	tx.tracer.Parent(&tx.whole, tx.out.Records, tx.p.cfg.Program.Name, tx.began)
	for _, r := range tx.out.Records {
		tx.produce(r)
		if tx.tables[r.Topic] {
			tx.rows++
		}
	}
	tx.out.Sent()
	tx.counted.outputs = 0
}

// samplesPerFetch is how many records of a fetched partition have their latency measured: enough
// for percentiles, at no cost.
const samplesPerFetch = 4

// measure samples the timestamps of records, whose latency is known at the commit.
func (tx *transaction) measure(records []*kgo.Record) {
	step := max(1, len(records)/samplesPerFetch)
	for i := 0; i < len(records); i += step {
		tx.sample = append(tx.sample, records[i].Timestamp)
	}
}

// finish returns what the transaction did and resets its counters for the next one. It leaves the
// spans open, which end with the outcome.
func (tx *transaction) finish() Commit {
	done := Commit{Records: tx.sourced, Outputs: tx.rows, DeadLetters: len(tx.out.DeadLetters), Late: len(tx.out.Late), Ahead: tx.out.Ahead, Expired: tx.out.Expired, Took: time.Since(tx.began)}
	for _, l := range tx.out.DeadLetters {
		if done.Causes == nil {
			done.Causes = make(map[string]int)
		}
		done.Causes[deadletter.Cause(l.Reason)]++
	}
	if len(tx.out.Dropped) > 0 {
		done.Dropped = maps.Clone(tx.out.Dropped)
	}
	now := tx.p.cfg.Now()
	for _, at := range tx.sample {
		done.Latencies = append(done.Latencies, now.Sub(at))
	}
	tx.out.Reset()
	tx.open, tx.read, tx.bytes, tx.sourced, tx.rows, tx.sample, tx.counted = false, 0, 0, 0, 0, tx.sample[:0], outputCount{}
	return done
}

// endSpans ends the spans of the transaction. aborted is the reason of its abort, "" if it is
// committed.
func (tx *transaction) endSpans(aborted string) {
	trace.End(tx.spans, aborted)
	clear(tx.spans)
	tx.spans = tx.spans[:0]
	tx.whole.End(aborted)
}
