package console

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// offsetRange is the offsets [from, to) of a partition.
type offsetRange struct{ from, to int64 }

// errEnough ends a scan early.
var errEnough = errors.New("found enough")

// scan calls fn with the committed records in ranges of a topic, in offset order within a
// partition, until fn returns an error or ctx is done. Ranges must end at or below the last stable
// offset: otherwise an open transaction would block the scan.
func scan(ctx context.Context, at broker.Config, topic string, parts map[int32]offsetRange, fn func(*kgo.Record) error) error {
	from := make(map[int32]kgo.Offset)
	left := make(map[int32]int64)
	for p, s := range parts {
		if s.from < s.to {
			from[p] = kgo.NewOffset().At(s.from)
			left[p] = s.to
		}
	}
	if len(left) == 0 {
		return nil
	}
	// Control records are kept because the last record of a range is often one.
	client, err := broker.Connect(ctx, at.Withholding(), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.FetchMaxBytes(1<<20), kgo.FetchMaxPartitionBytes(128<<10), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return err
	}
	defer client.Close()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var failed error
		fetches.EachError(func(t string, p int32, err error) { failed = fmt.Errorf("read %s-%d: %w", t, p, err) })
		fetches.EachRecord(func(r *kgo.Record) {
			end, wanted := left[r.Partition]
			if !wanted || failed != nil {
				return
			}
			if r.Offset+1 >= end {
				delete(left, r.Partition)
			}
			if r.Offset < end && !r.Attrs.IsControl() {
				failed = fn(r)
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}
