package console

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// follower reads the newest committed records of a topic, and no more of them than its budget:
// where more come, it jumps to the end, so that what it shows is a sample, but of now.
type follower struct {
	broker broker.Config
	topic  string
	budget int   // records a second
	back   int64 // offsets before the end at which it begins, over all partitions
	logger *slog.Logger

	// reached is called when it has read up to where what is committed ended at a moment; may be
	// nil. A reader that is held up, or whose broker is gone, knows nothing of what came after that
	// moment.
	reached func(at time.Time)
}

const (
	followEvery = 100 * time.Millisecond
	jumpAfter   = 2 * time.Second // of its budget, that it may be behind
)

// run calls take with records, by one goroutine, until ctx is done. skipped counts those that it
// jumped over since the last call.
func (f *follower) run(ctx context.Context, take func(records []*kgo.Record, skipped int64)) {
	wait := retry.Backoff()
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
		_ = retry.Sleep(ctx, wait.NextBackOff())
	}
}

func (f *follower) follow(ctx context.Context, take func([]*kgo.Record, int64)) error {
	// Control records are kept because the last one of a partition is often one, and it shows that
	// the end is reached.
	client, err := broker.Connect(ctx, f.broker, kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(1<<20), kgo.FetchMaxPartitionBytes(128<<10), kgo.MaxConcurrentFetches(1), kgo.FetchMaxWait(250*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	at := &position{topic: f.topic, admin: kadm.NewClient(client), client: client, next: make(map[int32]int64)}
	if err := at.find(ctx, f.back); err != nil {
		return err
	}
	var skipped int64
	found := false
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
		records := at.passed(fetches.Records())
		if len(records) > 0 || skipped > 0 {
			take(records, skipped)
			skipped, found = 0, true
		}
		if at.reached() {
			switch {
			case !found && at.rewind(f.back):
			case f.reached != nil:
				f.reached(at.looked)
			}
		}
		if time.Since(at.looked) >= time.Second {
			if skipped, err = at.jump(ctx, int64(jumpAfter.Seconds())*int64(f.budget)); err != nil {
				return err
			}
		}
		_ = retry.Sleep(ctx, followEvery-time.Since(began))
	}
}

// position is how far a follower has read.
type position struct {
	topic  string
	admin  *kadm.Client
	client *kgo.Client

	next   map[int32]int64 // offsets
	start  map[int32]int64 // of what is read, per partition
	oldest map[int32]int64 // of what there is
	ends   map[int32]int64 // of what was committed
	looked time.Time       // when that was so
}

// passed notes how far records go, and returns those that are no transaction markers.
func (p *position) passed(records []*kgo.Record) []*kgo.Record {
	for _, r := range records {
		p.next[r.Partition] = r.Offset + 1
	}
	return slices.DeleteFunc(records, func(r *kgo.Record) bool { return r.Attrs.IsControl() })
}

// reached reports whether all is read that was committed at the last look.
func (p *position) reached() bool {
	for partition, end := range p.ends {
		if p.next[partition] < end {
			return false
		}
	}
	return true
}

// look asks where what is committed ends.
func (p *position) look(ctx context.Context) error {
	at := time.Now()
	ends, err := p.admin.ListCommittedOffsets(ctx, p.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("find the end of %s: %w", p.topic, err)
	}
	p.ends, p.looked = make(map[int32]int64), at
	ends.Each(func(o kadm.ListedOffset) { p.ends[o.Partition] = o.Offset })
	return nil
}

// find begins at the newest records: back offsets before the end, over all partitions.
func (p *position) find(ctx context.Context, back int64) error {
	starts, err := p.admin.ListStartOffsets(ctx, p.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("find the start of %s: %w", p.topic, err)
	}
	if err := p.look(ctx); err != nil {
		return err
	}
	p.start, p.oldest = make(map[int32]int64), make(map[int32]int64)
	from := make(map[int32]kgo.Offset)
	share := back / max(1, int64(len(p.ends)))
	for partition, end := range p.ends {
		start, _ := starts.Lookup(p.topic, partition)
		p.oldest[partition] = start.Offset
		p.start[partition] = max(start.Offset, end-share)
		p.next[partition] = p.start[partition]
		from[partition] = kgo.NewOffset().At(p.start[partition])
	}
	p.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: from})
	return nil
}

// rewind goes further back, where the offsets that were read held no record but only transaction
// markers and what was aborted or compacted away: eight times as far each time. It reports whether
// there was anything further back.
func (p *position) rewind(back int64) bool {
	to := make(map[int32]kgo.EpochOffset)
	for partition, end := range p.ends {
		from := max(p.oldest[partition], end-8*max(end-p.start[partition], back))
		if from < p.start[partition] {
			p.start[partition], p.next[partition] = from, from
			to[partition] = kgo.EpochOffset{Epoch: -1, Offset: from}
		}
	}
	if len(to) > 0 {
		p.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{p.topic: to})
	}
	return len(to) > 0
}

// jump goes to the end where more than limit offsets are left to read, and returns how many it left
// out.
func (p *position) jump(ctx context.Context, limit int64) (skipped int64, err error) {
	if err := p.look(ctx); err != nil {
		return 0, err
	}
	var behind int64
	to := make(map[int32]kgo.EpochOffset)
	for partition, end := range p.ends {
		at, known := p.next[partition]
		if !known {
			p.next[partition] = 0 // a partition that was added
			p.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {partition: kgo.NewOffset().AtStart()}})
			continue
		}
		if end > at {
			behind += end - at
			to[partition] = kgo.EpochOffset{Epoch: -1, Offset: end}
		}
	}
	if behind <= limit {
		return 0, nil
	}
	for partition, o := range to {
		skipped += o.Offset - p.next[partition]
		p.next[partition] = o.Offset
	}
	p.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{p.topic: to})
	return skipped, nil
}
