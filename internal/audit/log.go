package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/retry"
)

// partition identifies a partition of a topic.
type partition struct {
	topic string
	id    int32
}

func (p partition) String() string { return fmt.Sprintf("%s partition %d", p.topic, p.id) }

// span is an offset range of some partitions: from the first available offset to an exclusive end
// that readers of committed records can reach.
type span struct{ from, to map[partition]int64 }

// begin returns the first available offset of a partition; above zero, earlier records were
// deleted.
func (s *span) begin(topic string, id int32) int64 { return s.from[partition{topic, id}] }

// truncated lists the partitions of a topic whose beginning has been deleted.
func (s *span) truncated(topic string) (ids []int32) {
	for p, from := range s.from {
		if p.topic == topic && from > 0 {
			ids = append(ids, p.id)
		}
	}
	return ids
}

// pollEvery is the interval for polling offsets that must advance.
const pollEvery = 50 * time.Millisecond

// settled lists the high watermarks of topics, waits until the last stable offsets have reached
// them, and returns the range up to there. Partitions that don't get there within Wait are blocked
// by an open transaction: their range ends at the last stable offset, and later calls don't wait
// for them again.
func (a *audit) settled(ctx context.Context, topics ...string) (*span, error) {
	starts, err := a.list(ctx, "start", a.admin.ListStartOffsets, topics)
	if err != nil {
		return nil, err
	}
	ends, err := a.list(ctx, "end", a.admin.ListEndOffsets, topics)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(a.cfg.Wait)
	for {
		stable, err := a.list(ctx, "last stable", a.admin.ListCommittedOffsets, topics)
		if err != nil {
			return nil, err
		}
		waiting, behind := false, make(map[partition]int64)
		for p, end := range ends {
			if stable[p] < end {
				behind[p] = stable[p]
				waiting = waiting || !a.blocked[p]
			}
		}
		if !waiting || time.Now().After(deadline) {
			for p, lso := range behind {
				ends[p] = lso
			}
			return &span{from: starts, to: ends}, a.block(ctx, behind)
		}
		if err := retry.Sleep(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
}

type lister func(context.Context, ...string) (kadm.ListedOffsets, error)

func (a *audit) list(ctx context.Context, what string, f lister, topics []string) (map[partition]int64, error) {
	listed, err := f(ctx, topics...)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list %s offsets: %w", what, err)
	}
	offsets := make(map[partition]int64)
	listed.Each(func(o kadm.ListedOffset) { offsets[partition{o.Topic, o.Partition}] = o.Offset })
	return offsets, nil
}

// committedOffsets returns a group's offsets in the readings' topic; nil if it has none.
func (a *audit) committedOffsets(ctx context.Context, group string) (map[int32]int64, error) {
	all, err := a.admin.FetchOffsets(ctx, group)
	if err == nil {
		err = all.Error()
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the offsets of group %s: %w", group, err)
	}
	var offsets map[int32]int64
	for id, o := range all[a.cfg.Topic] {
		if o.At < 0 {
			continue
		}
		if offsets == nil {
			offsets = make(map[int32]int64)
		}
		offsets[id] = o.At
	}
	return offsets, nil
}

// outcome is output that must not be ahead of the offsets that its group commits with it.
type outcome interface {
	reach(need map[int32]int64)          // raises need to the offsets committed with the output
	flagAhead(committed map[int32]int64) // reports output that the offsets don't cover
}

// checkNotAhead waits until a group's offsets cover its outcomes. Anything not covered after Wait
// was not committed in one transaction with the offsets.
func (a *audit) checkNotAhead(ctx context.Context, group string, outcomes ...outcome) error {
	need := make(map[int32]int64)
	for _, o := range outcomes {
		o.reach(need)
	}
	deadline := time.Now().Add(a.cfg.Wait)
	for {
		now, err := a.committedOffsets(ctx, group)
		if err != nil {
			return err
		}
		covered := true
		for id, offset := range need {
			covered = covered && now[id] >= offset
		}
		if covered {
			return nil
		}
		if time.Now().After(deadline) {
			for _, o := range outcomes {
				o.flagAhead(now)
			}
			return nil
		}
		if err := retry.Sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// block records partitions whose end readers can't reach, and the transactions that block them (C8,
// KIP-664). A partition for which the broker names no producer counts as one transaction.
func (a *audit) block(ctx context.Context, behind map[partition]int64) error {
	var set kadm.TopicsSet
	for p := range behind {
		if !a.blocked[p] {
			set.Add(p.topic, p.id)
		}
	}
	if len(set) == 0 {
		return nil
	}
	described, err := a.admin.DescribeProducers(ctx, set)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	set.Each(func(topic string, id int32) {
		p, named := partition{topic, id}, false
		a.blocked[p] = true
		a.report.find("C8", "open transaction", "%s: readers wait at offset %d", p, behind[p])
		if err == nil {
			for _, producer := range described[topic].Partitions[id].ActiveProducers {
				if producer.CurrentTxnStartOffset >= 0 {
					named = true
					a.holders[producer.ProducerID] = true
				}
			}
		}
		if !named {
			a.unnamed++
		}
	})
	a.report.OpenTransactions = int64(len(a.holders) + a.unnamed)
	return nil
}

func isMissing(err error) bool { return errors.Is(err, kerr.UnknownTopicOrPartition) }
