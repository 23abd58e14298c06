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

// follower reads the newest committed records of a topic within a budget. If more records arrive,
// it jumps to the end: what it reads is then a sample, but an up-to-date one.
type follower struct {
	broker broker.Config
	topic  string
	budget int   // records per second
	back   int64 // offsets before the end at which it starts, over all partitions
	logger *slog.Logger

	// reached is called when everything that was committed at a time has been read; may be nil.
	// While the follower lags or the broker is down, later records are unknown.
	reached func(at time.Time)
}

const (
	followEvery = 100 * time.Millisecond
	jumpAfter   = 2 * time.Second // lag at which it jumps to the end, as time at the full budget
)

// run calls receive with records, from one goroutine, until ctx is done. skipped is the number of
// records skipped since the last call.
func (f *follower) run(ctx context.Context, receive func(records []*kgo.Record, skipped int64)) {
	wait := retry.Backoff()
	for ctx.Err() == nil {
		began := time.Now()
		err := f.follow(ctx, receive)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > 10*time.Second {
			wait.Reset()
		}
		f.logger.Debug("console: reading topic failed; retrying", "topic", f.topic, "err", err)
		_ = retry.Sleep(ctx, wait.NextBackOff())
	}
}

func (f *follower) follow(ctx context.Context, receive func([]*kgo.Record, int64)) error {
	// Control records are kept because the last record of a partition is often one: without them,
	// the end would go unnoticed.
	client, err := broker.Connect(ctx, f.broker.Withholding(), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(1<<20), kgo.FetchMaxPartitionBytes(128<<10), kgo.MaxConcurrentFetches(1), kgo.FetchMaxWait(250*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	at := &position{topic: f.topic, admin: kadm.NewClient(client), client: client, next: make(map[int32]int64)}
	if err := at.init(ctx, f.back); err != nil {
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
			receive(records, skipped)
			skipped, found = 0, true
		}
		if at.reached() {
			switch {
			case !found && at.rewind(f.back):
			case f.reached != nil:
				f.reached(at.polled)
			}
		}
		if time.Since(at.polled) >= time.Second {
			if skipped, err = at.jump(ctx, int64(jumpAfter.Seconds())*int64(f.budget)); err != nil {
				return err
			}
		}
		_ = retry.Sleep(ctx, followEvery-time.Since(began))
	}
}

// position is the position of a follower.
type position struct {
	topic  string
	admin  *kadm.Client
	client *kgo.Client

	next   map[int32]int64 // offsets to read next
	start  map[int32]int64 // where reading started
	oldest map[int32]int64 // log start offsets
	ends   map[int32]int64 // last stable offsets, as of polled
	polled time.Time
}

// passed advances the position past records and returns them without transaction markers.
func (p *position) passed(records []*kgo.Record) []*kgo.Record {
	for _, r := range records {
		p.next[r.Partition] = r.Offset + 1
	}
	return slices.DeleteFunc(records, func(r *kgo.Record) bool { return r.Attrs.IsControl() })
}

// reached reports whether everything up to ends has been read.
func (p *position) reached() bool {
	for partition, end := range p.ends {
		if p.next[partition] < end {
			return false
		}
	}
	return true
}

// poll updates ends.
func (p *position) poll(ctx context.Context) error {
	at := time.Now()
	ends, err := p.admin.ListCommittedOffsets(ctx, p.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("list end offsets of %s: %w", p.topic, err)
	}
	p.ends, p.polled = make(map[int32]int64), at
	ends.Each(func(o kadm.ListedOffset) { p.ends[o.Partition] = o.Offset })
	return nil
}

// init starts reading at the newest records: back offsets before the end, over all partitions.
func (p *position) init(ctx context.Context, back int64) error {
	starts, err := p.admin.ListStartOffsets(ctx, p.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("list start offsets of %s: %w", p.topic, err)
	}
	if err := p.poll(ctx); err != nil {
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

// rewind moves further back, eight times as far each time, if the offsets read so far contained
// only transaction markers and aborted or compacted records. It reports whether there are earlier
// offsets.
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

// jump moves to the end if more than limit offsets are left to read, and returns the number of
// skipped offsets.
func (p *position) jump(ctx context.Context, limit int64) (skipped int64, err error) {
	if err := p.poll(ctx); err != nil {
		return 0, err
	}
	var lag int64
	to := make(map[int32]kgo.EpochOffset)
	for partition, end := range p.ends {
		at, known := p.next[partition]
		if !known {
			p.next[partition] = 0 // a new partition
			p.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {partition: kgo.NewOffset().AtStart()}})
			continue
		}
		if end > at {
			lag += end - at
			to[partition] = kgo.EpochOffset{Epoch: -1, Offset: end}
		}
	}
	if lag <= limit {
		return 0, nil
	}
	for partition, o := range to {
		skipped += o.Offset - p.next[partition]
		p.next[partition] = o.Offset
	}
	p.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{p.topic: to})
	return skipped, nil
}
