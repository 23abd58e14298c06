package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
)

// reader configures how a range of a log is read.
type reader struct {
	isolation         kgo.IsolationLevel
	maxPartitionBytes int32 // per fetch; readers with different sizes fetch the log in different batches
	compacted         bool  // compaction may remove records at either end during the read
	silent            bool  // its offsets don't count as progress
}

// read calls each with every data record of a range, in offset order within a partition, and
// returns when the end of every partition has been reached.
//
// The end is any record at or past the last offset, control records included, so that a tail of
// markers or aborted data counts as well. If compaction may have removed the tail, the broker is
// asked whether more follows. A partition without progress for Config.stall is an error, so read
// neither hangs nor stops early.
func (a *audit) read(ctx context.Context, r reader, from, to map[partition]int64, each func(*kgo.Record)) error {
	run := &pass{audit: a, reader: r, to: to, position: make(map[partition]int64)}
	starts := make(map[string]map[int32]kgo.Offset)
	for p, end := range to {
		if from[p] >= end {
			continue
		}
		run.position[p] = from[p]
		if starts[p.topic] == nil {
			starts[p.topic] = make(map[int32]kgo.Offset)
		}
		starts[p.topic][p.id] = kgo.NewOffset().At(from[p])
	}
	if len(starts) == 0 {
		return nil
	}
	reset := kgo.NoResetOffset() // skipping deleted records would look like loss
	if r.compacted {
		reset = kgo.NewOffset().AtStart()
	}
	client, err := broker.Connect(ctx, a.cfg.Broker.Withholding(),
		kgo.ConsumePartitions(starts),
		kgo.ConsumeResetOffset(reset),
		kgo.FetchIsolationLevel(r.isolation),
		kgo.KeepControlRecords(),
		kgo.FetchMaxPartitionBytes(r.maxPartitionBytes),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	run.client = client
	return run.loop(ctx, each)
}

// pass is a read in progress. position has the partitions whose end has not been reached.
type pass struct {
	audit    *audit
	reader   reader
	client   *kgo.Client
	to       map[partition]int64
	position map[partition]int64
}

// probeAfter is how long a read waits for records before it asks the broker about the tail of a
// partition.
const probeAfter = 2 * time.Second

func (r *pass) loop(ctx context.Context, each func(*kgo.Record)) error {
	moved, asked := time.Now(), time.Now()
	for len(r.position) > 0 {
		progressed, err := r.poll(ctx, each)
		if err != nil {
			return err
		}
		now := time.Now()
		switch {
		case progressed:
			moved, asked = now, now
		case now.Sub(moved) > r.audit.cfg.stall:
			return r.stalled()
		case r.reader.compacted && now.Sub(asked) > min(probeAfter, r.audit.cfg.stall/2):
			asked = now
			if err := r.probe(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *pass) stalled() error {
	for p, at := range r.position {
		return fmt.Errorf("read %s: no record for %s at offset %d, %d short of the end %d: check the partition's leader and run verify again",
			p, r.audit.cfg.stall, at, r.to[p]-at, r.to[p])
	}
	return nil
}

func (r *pass) poll(ctx context.Context, each func(*kgo.Record)) (progressed bool, err error) {
	wait, cancel := context.WithTimeout(ctx, min(time.Second, r.audit.cfg.stall/2))
	defer cancel()
	fetches := r.client.PollFetches(wait)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	for _, failed := range fetches.Errors() {
		if errors.Is(failed.Err, context.DeadlineExceeded) && failed.Topic == "" {
			continue
		}
		if errors.Is(failed.Err, kerr.OffsetOutOfRange) {
			return false, fmt.Errorf("read %s: retention deleted records before they were read: run verify again",
				partition{failed.Topic, failed.Partition})
		}
		return false, fmt.Errorf("read %s: %w", partition{failed.Topic, failed.Partition}, failed.Err)
	}
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		p := partition{f.Topic, f.Partition}
		if _, pending := r.position[p]; !pending || len(f.Records) == 0 {
			return
		}
		progressed = true
		r.take(p, f.Records, each)
	})
	return progressed, nil
}

func (r *pass) take(p partition, records []*kgo.Record, each func(*kgo.Record)) {
	end := r.to[p]
	for _, record := range records {
		if record.Offset >= end {
			break
		}
		if !record.Attrs.IsControl() {
			each(record)
		}
	}
	r.advance(p, min(records[len(records)-1].Offset+1, end))
}

func (r *pass) advance(p partition, to int64) {
	if !r.reader.silent {
		r.audit.progress.add(to - r.position[p])
	}
	r.position[p] = to
	if to >= r.to[p] {
		delete(r.position, p)
		r.client.PauseFetchPartitions(map[string][]int32{p.topic: {p.id}})
	}
}

// probe asks the leaders of the remaining partitions whether any record is left before the end.
func (r *pass) probe(ctx context.Context) error {
	for p, at := range r.position {
		empty, err := r.emptyTail(ctx, p, at)
		if err != nil {
			return fmt.Errorf("fetch the tail of %s: %w", p, err)
		}
		if empty {
			r.advance(p, r.to[p])
		}
	}
	return nil
}

// emptyTail fetches from an offset on and reports whether the broker has no record before the end.
// Aborted batches, and those emptied by compaction, are skipped. If a response contains an error or
// a record, or was throttled, the result is inconclusive and false.
func (r *pass) emptyTail(ctx context.Context, p partition, at int64) (bool, error) {
	leader, err := r.leader(ctx, p)
	if err != nil {
		return false, err
	}
	for at < r.to[p] {
		answer, throttled, err := r.fetch(ctx, leader, p, at)
		if err != nil {
			return false, err
		}
		if throttled || answer.ErrorCode != 0 {
			return false, nil
		}
		if len(answer.RecordBatches) == 0 {
			return min(answer.LastStableOffset, answer.HighWatermark) >= r.to[p], nil
		}
		decoded, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset: at, IsolationLevel: r.reader.isolation, Topic: p.topic, Partition: p.id,
		}, answer, kgo.DefaultDecompressor(), nil)
		if decoded.Err != nil || len(decoded.Records) > 0 || next <= at {
			return false, nil
		}
		at = next
	}
	return true, nil
}

func (r *pass) leader(ctx context.Context, p partition) (*kgo.Broker, error) {
	topics, err := r.audit.admin.ListTopics(ctx, p.topic)
	if err != nil {
		return nil, err
	}
	detail := topics[p.topic].Partitions[p.id]
	if detail.Err != nil {
		return nil, detail.Err
	}
	return r.audit.client.Broker(int(detail.Leader)), nil
}

func (r *pass) fetch(ctx context.Context, leader *kgo.Broker, p partition, at int64) (answer *kmsg.FetchResponseTopicPartition, throttled bool, err error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 100, 1, 1<<20
	req.SessionEpoch = -1 // no fetch session for a single request (KIP-227)
	if r.reader.isolation == kgo.ReadCommitted() {
		req.IsolationLevel = 1
	}
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.id, at, 1<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = p.topic, r.audit.ids[p.topic]
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := leader.RetriableRequest(ctx, req)
	if err != nil {
		return nil, false, err
	}
	got := resp.(*kmsg.FetchResponse)
	if got.ErrorCode != 0 || len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 1 {
		return nil, true, nil
	}
	return &got.Topics[0].Partitions[0], got.ThrottleMillis > 0, nil
}

// progress sums the offsets read in one run.
type progress struct {
	mu          sync.Mutex
	report      func(done, total int64)
	done, total int64
}

func (p *progress) expect(s *span) {
	for part, end := range s.to {
		p.total += end - s.from[part]
	}
}

func (p *progress) add(n int64) {
	if p.report == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.total = max(p.total, p.done)
	p.report(p.done, p.total)
}
