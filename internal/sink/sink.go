// Package sink delivers the rows of a pipeline's result topics to targets outside of Kafka, such as
// a database, exactly once: the offsets of what is delivered are kept by the target, and change
// together with its rows. Targets that can't keep offsets get rows at least once. A target that is
// down, slow or refuses rows never holds the pipeline's transactions: its rows wait in the topic.
//
//	sink.go      Run: one table's sink in one process
//	target.go    Target, Session, Batch: what a target implements, and its errors
//	session.go   one life of the consumer and of the connection: claims of partitions
//	deliver.go   reads, makes batches and delivers them: the next while the target writes one
//	buffer.go    records that are read, and not yet part of a batch
//	batch.go     records to rows; only the last version of each key
//	group.go     targets that can't keep offsets: positions are offsets of the consumer group
//	begun.go     whether such a group once had offsets
//	letters.go   dead letters, and how a target isolates the rows that it refuses
//	ddl.go       CREATE TABLE of a database
//	delivered.go waiting until the rows of a finished run are delivered
//	status.go    what a sink does, for readers outside; metrics.go the same for Prometheus
//
// Unless the target can't keep offsets, the consumer group assigns partitions to processes and
// nothing else. The positions are the target's: a process claims its partitions there, which fences
// the one that had them before. One batch is delivered at a time, after the one before it is
// committed; meanwhile the next one is made. What is read ahead counts for nothing: after an error
// it is dropped, and read again from the target's positions.
package sink

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/retry"
)

// Config configures the sink of a table.
type Config struct {
	Broker      broker.Config
	Pipeline    string
	Table       *plan.Table
	DeadLetters string // topic of rows that the target refuses
	Target      Target
	MaxRows     int           // of a batch; default 10,000
	MaxBytes    int           // of the records of a batch, beyond which it is delivered; default 16 MiB
	Interval    time.Duration // how long rows wait for others; default 0: only while the previous batch is delivered

	DeliverTimeout time.Duration // bounds a delivery to a target that does not answer; default 1 min
	StopTimeout    time.Duration // to deliver the current batch once the context is done; default 5 s
	SessionTimeout time.Duration // after which the partitions of a dead process are reassigned; default 10 s

	Status *Status // default one without readers
	Logger *slog.Logger
	Now    func() time.Time // default time.Now

	prepared func() // called when a batch is made; for tests
}

const (
	defaultRows  = 10_000
	defaultBytes = 16 << 20
	// refusedPause is the pause before a target that refuses the table is asked again: somebody has
	// to change something.
	refusedPause = 15 * time.Second
	watchPause   = 2 * time.Second
	laterLimit   = 10 * time.Minute
	topicPause   = 200 * time.Millisecond
)

// Name identifies the sink of a pipeline's table in its target.
func Name(pipeline, table string) string { return pipeline + "." + table }

// Group is the consumer group in which the processes of a pipeline share the partitions of a
// table's rows. It is not named like the group of a pipeline.
func Group(pipeline, table string) string { return "weir.sink." + Name(pipeline, table) }

func (c Config) withDefaults() Config {
	if c.MaxRows == 0 {
		c.MaxRows = defaultRows
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultBytes
	}
	if c.DeliverTimeout == 0 {
		c.DeliverTimeout = time.Minute
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 5 * time.Second
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Status == nil {
		c.Status = NewStatus(c.Pipeline, c.Table)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Logger = c.Logger.With("pipeline", c.Pipeline, "table", c.Table.Name)
	return c
}

// Run delivers the rows of a table until ctx is done. It retries every error, for as long as it
// takes; Status has the last one.
func Run(ctx context.Context, c Config) {
	c = c.withDefaults()
	letters := newLetters(c)
	var watching sync.WaitGroup
	watching.Go(func() { watchEnds(ctx, c) })
	defer watching.Wait()
	defer c.Status.set(Stopped, nil)
	wait := retry.Backoff()
	most := c.MaxRows
	for ctx.Err() == nil {
		began := c.Now()
		delivered, err := runSession(ctx, c, letters)
		if ctx.Err() != nil {
			return
		}
		if delivered {
			wait.Reset()
			c.MaxRows = most
		}
		if errors.Is(err, context.DeadlineExceeded) { // a batch in which a slow target refuses every row takes long
			c.MaxRows = max(1, c.MaxRows/4)
		}
		pause := wait.NextBackOff()
		if later := (*LaterError)(nil); errors.As(err, &later) {
			pause = max(pause, min(later.After, laterLimit))
		}
		var refused *RefusedError
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition): // the pipeline has not created it yet
			c.Status.set(Starting, err)
			pause = topicPause
		case errors.As(err, &refused):
			c.Status.failed(Refused, err)
			pause = refusedPause
			c.Logger.Error("the sink is stopped; its rows wait in the topic", "topic", c.Table.Kafka.Topic, "target", c.Table.Delivery.String(), "err", err)
		case errors.As(err, new(*FencedError)):
			c.Status.failed(Waiting, err)
			c.Logger.Info("another process has taken over partitions of the sink", "err", err)
		default:
			c.Status.failed(Waiting, err)
			c.Logger.Warn("the sink is retrying; its rows wait in the topic", "topic", c.Table.Kafka.Topic, "target", c.Table.Delivery.String(), "ran", c.Now().Sub(began).Round(time.Millisecond), "err", err)
		}
		_ = retry.Sleep(ctx, pause)
	}
}

// watchEnds keeps the lag up to date, while the target is down too.
func watchEnds(ctx context.Context, c Config) {
	for ctx.Err() == nil {
		if starts, ends, err := bounds(ctx, c.Broker, c.Table.Kafka.Topic); err == nil {
			c.Status.ends(starts, ends)
		}
		_ = retry.Sleep(ctx, watchPause)
	}
}
