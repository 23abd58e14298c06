package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Writes are the records of one transaction that are being written. The first failure discards
// everything that the client still buffers.
type Writes struct {
	client *kgo.Client
	done   func(*kgo.Record, error)

	open   sync.WaitGroup
	failed atomic.Bool
	err    error
}

// NewWrites returns the writes of the client's open transaction.
func NewWrites(client *kgo.Client) *Writes {
	w := &Writes{client: client}
	w.done = w.end
	return w
}

// Produce hands a record to the client.
func (w *Writes) Produce(ctx context.Context, r *kgo.Record) {
	w.open.Add(1)
	w.client.Produce(ctx, r, w.done)
}

// Refuse counts r as failed without handing it to the client.
func (w *Writes) Refuse(r *kgo.Record, err error) {
	w.open.Add(1)
	w.end(r, err)
}

func (w *Writes) end(r *kgo.Record, err error) {
	defer w.open.Done()
	if err == nil || w.failed.Swap(true) {
		return
	}
	w.err = &WriteError{r.Topic, err}
	w.open.Go(func() { _ = w.client.AbortBufferedRecords(context.Background()) }) // fails only if its context is done
}

// Err waits for all records and returns the first error, a *WriteError.
func (w *Writes) Err() error {
	w.open.Wait()
	return w.err
}

// WriteError is the error of a record that could not be written.
type WriteError struct {
	Topic string
	Err   error
}

// Error names the topic and, for lasting errors, a remedy.
func (e *WriteError) Error() string {
	text := fmt.Sprintf("write to topic %s: %v", e.Topic, e.Err)
	switch {
	case errors.Is(e.Err, kerr.InvalidRecord):
		text += fmt.Sprintf(": a topic with cleanup.policy=compact does not accept records without a key: set cleanup.policy=delete for %s, or give its table a key", e.Topic)
	case errors.Is(e.Err, kerr.InvalidTimestamp):
		text += fmt.Sprintf(": the record's timestamp is too far from the broker's clock: see message.timestamp.before.max.ms and message.timestamp.after.max.ms of %s", e.Topic)
	case errors.Is(e.Err, kerr.UnknownTopicOrPartition):
		text += ": create it again"
	}
	return text
}

func (e *WriteError) Unwrap() error { return e.Err }
