package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/retry"
)

// Written records the last offset written per partition, so that a run can wait at its end until
// readers see it. The zero value is ready to use.
type Written struct {
	mu   sync.Mutex
	ends map[partitionKey]*atomic.Int64 // offset after the last record
}

// Option returns the client option that reports its writes.
func (w *Written) Option() kgo.Opt { return kgo.WithHooks(&writtenBy{all: w}) }

// writtenBy is the hook of one client, which finishes records in order, a batch of a partition at a
// time.
type writtenBy struct {
	all *Written
	at  partitionKey
	end *atomic.Int64
}

// OnProduceRecordUnbuffered implements kgo.HookProduceRecordUnbuffered.
func (h *writtenBy) OnProduceRecordUnbuffered(r *kgo.Record, err error) {
	if err != nil {
		return
	}
	if h.end == nil || h.at.id != r.Partition || h.at.topic != r.Topic {
		h.at = partitionKey{r.Topic, r.Partition}
		h.end = h.all.of(h.at)
	}
	for next := r.Offset + 1; ; {
		last := h.end.Load()
		if last >= next || h.end.CompareAndSwap(last, next) {
			return
		}
	}
}

func (w *Written) of(p partitionKey) *atomic.Int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ends == nil {
		w.ends = make(map[partitionKey]*atomic.Int64)
	}
	if w.ends[p] == nil {
		w.ends[p] = new(atomic.Int64)
	}
	return w.ends[p]
}

// NotVisibleError means that not all readers can see the committed records yet.
type NotVisibleError struct {
	Partitions []BlockedPartition // HighWatermark is the offset after the last record that was written
	Err        error              // why the wait ended
}

// Error names a partition and a remedy.
func (e *NotVisibleError) Error() string {
	if len(e.Partitions) == 0 {
		return fmt.Sprintf("wait until readers see the committed records: %v", e.Err)
	}
	p := e.Partitions[0]
	others := ""
	if n := len(e.Partitions); n > 1 {
		others = fmt.Sprintf(", and %d more partitions", n-1)
	}
	return fmt.Sprintf("everything is committed, but read_committed readers don't see it yet: they see %s-%d up to offset %d, written up to %d%s: "+
		"a transaction is still open there; weir transactions list shows it",
		p.Topic, p.Partition, p.LastStable, p.HighWatermark, others)
}

// Unwrap returns why the wait ended.
func (e *NotVisibleError) Unwrap() error { return e.Err }

// AwaitVisible waits until read_committed readers see everything that was written: until each
// partition's last stable offset has passed it. A broker acknowledges a commit before its markers
// are on all partitions. The error is a *NotVisibleError.
func (w *Written) AwaitVisible(ctx context.Context, c Config) error {
	if w.nothing() {
		return nil
	}
	client, err := Connect(ctx, c)
	if err != nil {
		return &NotVisibleError{Err: err}
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	var hidden []BlockedPartition // when they were last listed
	for {
		listed, err := w.hidden(ctx, admin)
		if err == nil {
			hidden = listed
			if len(hidden) == 0 {
				return nil
			}
		}
		if sleepErr := retry.Sleep(ctx, endPoll); sleepErr != nil {
			return &NotVisibleError{Partitions: hidden, Err: clearest(err, sleepErr)}
		}
	}
}

func (w *Written) nothing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ends) == 0
}

// hidden returns the partitions in which readers can't see all written records yet, except deleted
// ones.
func (w *Written) hidden(ctx context.Context, admin *kadm.Client) (hidden []BlockedPartition, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var topics []string
	for p := range w.ends {
		if !slices.Contains(topics, p.topic) {
			topics = append(topics, p.topic)
		}
	}
	stable, err := admin.ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list last stable offsets: %w", err)
	}
	for p, end := range w.ends {
		at, ok := stable.Lookup(p.topic, p.id)
		if !ok || errors.Is(at.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if at.Err != nil {
			return nil, fmt.Errorf("list the last stable offset of %s-%d: %w", p.topic, p.id, at.Err)
		}
		if end := end.Load(); at.Offset < end {
			hidden = append(hidden, BlockedPartition{Topic: p.topic, Partition: p.id, LastStable: at.Offset, HighWatermark: end, Behind: end - at.Offset})
		}
	}
	slices.SortFunc(hidden, func(a, b BlockedPartition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return hidden, nil
}
