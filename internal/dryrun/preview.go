package dryrun

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

// previewBatch is the number of records between two checks of the context.
const previewBatch = 1000

// Preview runs a pipeline over records of its sources, by topic and in offset order, as one task
// per stage and partition. sizes are the partition counts of the sources' topics. A partition
// without records does not hold back the watermark. With end, inputs end after their last record,
// so that all windows close.
//
// Nothing is written to a broker: Preview returns, by topic, the records that the pipeline would
// write, dead letters and late rows with a header "reason". It returns ctx's error when ctx is
// done.
func Preview(ctx context.Context, p *plan.Program, records map[string][]*kgo.Record, sizes map[string]int32, end bool) (map[string][]*kgo.Record, error) {
	width := int32(1)
	for _, n := range sizes {
		width = max(width, n)
	}
	s, err := New(p, Options{Partitions: width, Batch: previewBatch}, sizes)
	if err != nil {
		return nil, err
	}
	s.stopped = ctx.Err
	for topic, all := range records {
		partitions := s.topic(topic)
		for _, r := range all {
			partitions[r.Partition] = append(partitions[r.Partition], r)
		}
	}
	if err := s.endEmpty(); err != nil {
		return nil, err
	}
	if err := s.Settle(); err != nil {
		return nil, err
	}
	if end {
		if err := s.End(); err != nil {
			return nil, err
		}
	}
	out := make(map[string][]*kgo.Record)
	for _, sink := range p.Sinks {
		insert, ok := sink.Op.(*plan.Insert)
		if !ok {
			return nil, fmt.Errorf("not a sink: %s", sink.Describe())
		}
		out[insert.Table.Kafka.Topic] = s.records(insert.Table.Kafka.Topic)
	}
	for _, topic := range []string{p.Settings.DeadLetterTopic, p.Settings.LateTopic} {
		out[topic] = s.records(topic)
	}
	return out, nil
}
