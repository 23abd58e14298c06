package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/retry"
)

// stallLimit is how long a read may make no progress before it fails.
const stallLimit = 30 * time.Second

// ReadAll calls fn with each committed record of partitions of a topic, in offset order within a
// partition, from the start up to where the log ended when ReadAll was called; no partitions means
// all of them.
//
// The end is the high watermark, not the last stable offset: a transaction whose offsets are
// already visible elsewhere may not yet have its marker here, so ReadAll waits for those that are
// open (KIP-98). The caller must not have a transaction of its own open on the topic. fn may keep
// the record.
func ReadAll(ctx context.Context, c Config, topic string, partitions []int32, fn func(*kgo.Record) error) error {
	_, err := read(ctx, c, topic, partitions, nil, fn)
	return err
}

// ReadFrom is ReadAll for the partitions in from, each starting at its offset. It returns the
// offsets where they ended; fn has seen every record committed before them.
func ReadFrom(ctx context.Context, c Config, topic string, from map[int32]int64, fn func(*kgo.Record) error) (ends map[int32]int64, err error) {
	return read(ctx, c, topic, slices.Collect(maps.Keys(from)), from, fn)
}

func read(ctx context.Context, c Config, topic string, partitions []int32, begin map[int32]int64, fn func(*kgo.Record) error) (map[int32]int64, error) {
	// Control records are kept because the last record of a partition is often one. Decoded records
	// take ten times the memory of the compressed ones that are fetched ahead.
	client, err := Connect(ctx, c, kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.FetchMaxPartitionBytes(256<<10), kgo.FetchMaxBytes(4<<20))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := stableEnds(ctx, kadm.NewClient(client), topic, partitions)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(ends)
	from := make(map[int32]kgo.Offset, len(ends))
	for p, end := range ends {
		at, given := begin[p]
		switch {
		case given && at >= end:
			delete(ends, p) // nothing new
		case given && at > 0:
			from[p] = kgo.NewOffset().At(at)
		default:
			from[p] = kgo.NewOffset().AtStart()
		}
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for len(ends) > 0 {
		poll, cancel := context.WithTimeout(ctx, stallLimit)
		fetches := client.PollFetches(poll)
		cancel()
		if err := fetches.Err0(); err != nil {
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				return nil, fmt.Errorf("read %s: no record for %s before the end of %d partitions", topic, stallLimit, len(ends))
			}
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
		var failed error
		fetches.EachError(func(t string, p int32, err error) {
			failed = fmt.Errorf("read %s-%d: %w", t, p, err)
		})
		fetches.EachRecord(func(r *kgo.Record) {
			end, ok := ends[r.Partition]
			if !ok || failed != nil {
				return
			}
			if r.Offset+1 >= end {
				delete(ends, r.Partition)
			}
			if r.Offset < end && !r.Attrs.IsControl() {
				failed = fn(r)
			}
		})
		if failed != nil {
			return nil, failed
		}
	}
	return all, nil
}

// stableEnds returns the high watermark of each partition that has records, once no transaction is
// open below it.
func stableEnds(ctx context.Context, admin *kadm.Client, topic string, partitions []int32) (map[int32]int64, error) {
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list start offsets of %s: %w", topic, err)
	}
	listed, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("list end offsets of %s: %w", topic, err)
	}
	ends := make(map[int32]int64)
	wanted := make(map[int32]bool, len(partitions))
	for _, p := range partitions {
		wanted[p] = true
		if _, ok := listed.Lookup(topic, p); !ok {
			return nil, fmt.Errorf("list end offset of %s-%d: partition not found", topic, p)
		}
	}
	for p, end := range listed[topic] {
		if end.Err != nil {
			return nil, fmt.Errorf("list end offset of %s-%d: %w", topic, p, end.Err)
		}
		start, _ := starts.Lookup(topic, p)
		if (len(partitions) == 0 || wanted[p]) && end.Offset > start.Offset {
			ends[p] = end.Offset
		}
	}
	for {
		stable, err := admin.ListCommittedOffsets(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("list last stable offsets of %s: %w", topic, err)
		}
		behind := false
		for p, end := range ends {
			at, ok := stable.Lookup(topic, p)
			behind = behind || !ok || at.Err != nil || at.Offset < end
		}
		if !behind {
			return ends, nil
		}
		if err := retry.Sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("wait for open transactions on %s: %w", topic, err)
		}
	}
}
