package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// sampled is the number of records to read from each end of a partition. The oldest records show
// whether partitions were added later.
const sampled = 200

// sampleTime limits how long one topic is sampled.
const sampleTime = 15 * time.Second

var errSampled = errors.New("enough records sampled")

// checkKeys runs a pipeline in memory on samples of the topics that it requires to be partitioned
// by key. The error is a *operator.MisplacedRecordError if a record is not in the partition of its
// key.
func checkKeys(ctx context.Context, b broker.Config, log *slog.Logger, p *plan.Program) (*keysReport, error) {
	report := &keysReport{}
	client, err := broker.Connect(ctx, b, broker.ClientLog(log))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if len(p.Patterns()) > 0 {
		topics, err := admin.ListTopics(ctx)
		if err != nil {
			return nil, fmt.Errorf("list topics: %w", err)
		}
		if p, err = p.Matched(topics.Names()); err != nil {
			return nil, err
		}
	}
	all, sizes := make(map[string][]*kgo.Record), make(map[string]int32)
	for _, at := range p.Placements() {
		for _, t := range at.Tables {
			if all[t.Kafka.Topic] != nil || slices.Contains(report.Missing, t.Kafka.Topic) || slices.Contains(report.Unsampled, t.Kafka.Topic) {
				continue
			}
			if format.HasRegistry(t.Kafka.Key.Name) || format.HasRegistry(t.Kafka.Value.Name) { // a dry run can't decode it
				report.Unsampled = append(report.Unsampled, t.Kafka.Topic)
				continue
			}
			topics, err := admin.ListTopics(ctx, t.Kafka.Topic)
			if err != nil {
				return nil, fmt.Errorf("describe topic %s: %w", t.Kafka.Topic, err)
			}
			if topics[t.Kafka.Topic].Err != nil {
				report.Missing = append(report.Missing, t.Kafka.Topic)
				continue
			}
			sizes[t.Kafka.Topic] = int32(len(topics[t.Kafka.Topic].Partitions)) //nolint:gosec // small number
			if all[t.Kafka.Topic], err = sample(ctx, b, admin, t.Kafka.Topic); err != nil {
				return nil, err
			}
			report.Records += len(all[t.Kafka.Topic])
			log.Info("topic sampled", "topic", t.Kafka.Topic, "partitions", sizes[t.Kafka.Topic], "records", len(all[t.Kafka.Topic]))
		}
	}
	_, err = dryrun.Preview(ctx, p, all, sizes, false)
	var misplaced *operator.MisplacedRecordError
	if !errors.As(err, &misplaced) {
		err = nil // a sample lacks earlier rows, so other errors are meaningless
	}
	return report, err
}

// sample reads records from the beginning and the end of each partition.
func sample(ctx context.Context, b broker.Config, admin *kadm.Client, topic string) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, sampleTime)
	defer cancel()
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list start offsets of %s: %w", topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list end offsets of %s: %w", topic, err)
	}
	all := []*kgo.Record{}
	count := make(map[int32]int)
	first, last := make(map[int32]int64), make(map[int32]int64)
	starts.Each(func(o kadm.ListedOffset) {
		end, _ := ends.Lookup(topic, o.Partition)
		first[o.Partition] = o.Offset
		last[o.Partition] = max(o.Offset, end.Offset-sampled)
	})
	begin := func(r *kgo.Record) error {
		if r.Offset < last[r.Partition] && count[r.Partition] < sampled {
			count[r.Partition]++
			all = append(all, r)
		}
		if len(all) >= sampled*len(first) {
			return errSampled
		}
		return nil
	}
	end := func(r *kgo.Record) error {
		all = append(all, r)
		return nil
	}
	limit := 50 * sampled * len(first) // a single partition may be fetched much faster than the others
	read := 0
	_, err = broker.ReadFrom(ctx, b, topic, first, func(r *kgo.Record) error {
		if read++; read > limit {
			return errSampled
		}
		return begin(r)
	})
	if err == nil || errors.Is(err, errSampled) || errors.Is(err, context.DeadlineExceeded) {
		_, err = broker.ReadFrom(ctx, b, topic, last, end)
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("read samples of %s: %w", topic, err)
	}
	return all, nil
}
