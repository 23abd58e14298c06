package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// watcher reads readings and results like any read_committed consumer, but bypasses the proxies,
// and records when commits become visible.
type watcher struct {
	flow   flow
	client *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	next     map[partition]int64 // offset after the last record seen
	seen     map[partition]time.Time
	longest  time.Duration // longest time between records of a partition
	readings int64
}

type partition struct {
	topic string
	id    int32
}

func watch(ctx context.Context, at broker.Config, f flow, log *slog.Logger) (*watcher, error) {
	w := &watcher{flow: f, next: make(map[partition]int64), seen: make(map[partition]time.Time), done: make(chan struct{})}
	client, err := broker.Connect(ctx, at, kgo.ConsumeTopics(f.watched()...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(5*time.Second))
	if err != nil {
		return nil, err
	}
	w.client = client
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			w.take(client.PollFetches(ctx), log)
		}
	}()
	return w, nil
}

func (w *watcher) take(fetches kgo.Fetches, log *slog.Logger) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	fetches.EachError(func(topic string, p int32, err error) { log.Debug("watch", "topic", topic, "partition", p, "err", err) })
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		p := partition{f.Topic, f.Partition}
		if last, ok := w.seen[p]; ok {
			w.longest = max(w.longest, now.Sub(last))
		}
		w.seen[p] = now
		w.next[p] = f.Records[len(f.Records)-1].Offset + 1
		if slices.Contains(w.flow.sources, f.Topic) {
			w.readings += int64(len(f.Records))
		}
	})
}

func (w *watcher) close() {
	w.cancel()
	<-w.done
	w.client.Close()
}

// count returns the number of readings seen.
func (w *watcher) count() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.readings
}

// longestStall returns the longest time without records on a partition that has had some.
func (w *watcher) longestStall() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := w.longest
	for _, last := range w.seen {
		longest = max(longest, time.Since(last))
	}
	return longest
}

// ends returns the end offsets of the watched topics.
func (w *watcher) ends(ctx context.Context, client *kgo.Client) (map[partition]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	listed, err := kadm.NewClient(client).ListEndOffsets(ctx, w.flow.watched()...)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list the ends of the flow: %w", err)
	}
	ends := make(map[partition]int64)
	listed.Each(func(o kadm.ListedOffset) { ends[partition{o.Topic, o.Partition}] = o.Offset })
	return ends, nil
}

// awaitBeyond waits until each partition has a committed record past its end, and returns how long
// that took since began.
func (w *watcher) awaitBeyond(ctx context.Context, ends map[partition]int64, began time.Time, limit time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		behind, latest := w.behind(ends)
		if len(behind) == 0 {
			return max(0, latest.Sub(began)), nil
		}
		if retry.Sleep(ctx, 5*time.Millisecond) != nil {
			return limit, fmt.Errorf("no commit on %v within %s", behind, limit)
		}
	}
}

func (w *watcher) behind(ends map[partition]int64) (behind []partition, latest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, end := range ends {
		if w.next[p] <= end {
			behind = append(behind, p)
		}
		if w.seen[p].After(latest) {
			latest = w.seen[p]
		}
	}
	return behind, latest
}

// awaitFirst waits until every partition of the watched topics has a record.
func (w *watcher) awaitFirst(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		ends, err := w.ends(ctx, w.client)
		if err == nil && len(ends) > len(w.flow.watched()) {
			_, err = w.awaitBeyond(ctx, map[partition]int64{}, time.Now(), limit)
			behind, _ := w.behind(zeroes(ends))
			if err == nil && len(behind) == 0 {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no readings and results on all partitions within %s: %w", limit, err)
		}
		if err := retry.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func zeroes(ends map[partition]int64) map[partition]int64 {
	all := make(map[partition]int64, len(ends))
	for p := range ends {
		all[p] = 0
	}
	return all
}
