package console

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/broker"
)

// follower reads the newest committed records of a topic, and no more of them than its budget: where more come, it jumps to
// the end, so that what it shows is a sample, but of now.
type follower struct {
	broker broker.Config
	topic  string
	budget int   // records a second
	back   int64 // records before the end at which it begins, over all partitions
	logger *slog.Logger
}

const (
	followEvery = 100 * time.Millisecond
	jumpAfter   = 2 * time.Second // of its budget, that it may be behind
)

// run calls take with records, by one goroutine, until ctx is done. skipped counts those that it jumped over since the last call.
func (f *follower) run(ctx context.Context, take func(records []*kgo.Record, skipped int64)) {
	wait := broker.Backoff()
	for ctx.Err() == nil {
		began := time.Now()
		err := f.follow(ctx, take)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > 10*time.Second {
			wait.Reset()
		}
		f.logger.Debug("console: read again", "topic", f.topic, "err", err)
		_ = broker.Sleep(ctx, wait.NextBackOff())
	}
}

func (f *follower) follow(ctx context.Context, take func([]*kgo.Record, int64)) error {
	client, err := broker.Connect(ctx, f.broker,
		kgo.FetchMaxBytes(1<<20), kgo.FetchMaxPartitionBytes(128<<10), kgo.MaxConcurrentFetches(1), kgo.FetchMaxWait(250*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	at := &position{topic: f.topic, next: make(map[int32]int64)}
	if err := at.find(ctx, admin, client, f.back); err != nil {
		return err
	}
	looked := time.Now()
	var skipped int64
	for {
		began := time.Now()
		poll, cancel := context.WithTimeout(ctx, time.Second)
		fetches := client.PollRecords(poll, max(1, f.budget/int(time.Second/followEvery)))
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var failed error
		fetches.EachError(func(t string, p int32, err error) {
			if poll.Err() == nil {
				failed = fmt.Errorf("read %s-%d: %w", t, p, err)
			}
		})
		if failed != nil {
			return failed
		}
		records := fetches.Records()
		for _, r := range records {
			at.next[r.Partition] = r.Offset + 1
		}
		if len(records) > 0 || skipped > 0 {
			take(records, skipped)
			skipped = 0
		}
		if time.Since(looked) >= time.Second {
			looked = time.Now()
			if skipped, err = at.jump(ctx, admin, client, int64(jumpAfter.Seconds())*int64(f.budget)); err != nil {
				return err
			}
		}
		_ = broker.Sleep(ctx, followEvery-time.Since(began))
	}
}

// position is where a follower stands.
type position struct {
	topic string
	next  map[int32]int64 // offsets
}

// find begins at the newest records of partitions that are not read yet.
func (p *position) find(ctx context.Context, admin *kadm.Client, client *kgo.Client, back int64) error {
	starts, err := admin.ListStartOffsets(ctx, p.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("find the start of %s: %w", p.topic, err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, p.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("find the end of %s: %w", p.topic, err)
	}
	from := make(map[int32]kgo.Offset)
	share := back / max(1, int64(len(ends[p.topic])))
	ends.Each(func(o kadm.ListedOffset) {
		start, _ := starts.Lookup(o.Topic, o.Partition)
		p.next[o.Partition] = max(start.Offset, o.Offset-share)
		from[o.Partition] = kgo.NewOffset().At(p.next[o.Partition])
	})
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: from})
	return nil
}

// jump goes to the end where more than limit records are left to read, and returns how many it left out.
func (p *position) jump(ctx context.Context, admin *kadm.Client, client *kgo.Client, limit int64) (skipped int64, err error) {
	ends, err := admin.ListCommittedOffsets(ctx, p.topic)
	if err != nil {
		return 0, fmt.Errorf("find the end of %s: %w", p.topic, err)
	}
	var behind int64
	to := make(map[int32]kgo.EpochOffset)
	ends.Each(func(o kadm.ListedOffset) {
		at, known := p.next[o.Partition]
		if !known {
			p.next[o.Partition] = 0 // a partition that was added
			client.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {o.Partition: kgo.NewOffset().AtStart()}})
			return
		}
		if o.Offset > at {
			behind += o.Offset - at
			to[o.Partition] = kgo.EpochOffset{Epoch: -1, Offset: o.Offset}
		}
	})
	if behind <= limit {
		return 0, nil
	}
	for partition, o := range to {
		skipped += o.Offset - p.next[partition]
		p.next[partition] = o.Offset
	}
	client.SetOffsets(map[string]map[int32]kgo.EpochOffset{p.topic: to})
	return skipped, nil
}
