package sqltest

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// Preview runs a pipeline over records of its sources, by topic and in the order of their offsets,
// as one task of each stage for each partition. sizes are the partitions that the sources' topics
// have. A partition without records holds nothing back. With end, the inputs end behind them, so
// that all windows close. It writes nothing anywhere: what the pipeline would write comes back by
// topic, dead letters and late rows with their reason in the header "reason". It ends early, with
// ctx's error, when ctx is done.
func Preview(ctx context.Context, p *plan.Program, records map[string][]*kgo.Record, sizes map[string]int32, end bool) (map[string][]*kgo.Record, error) {
	width := int32(1)
	for _, n := range sizes {
		width = max(width, n)
	}
	const batch = 1000 // records between two looks at ctx
	s, err := newSim(p, Options{Partitions: width, Batch: batch}, sizes)
	if err != nil {
		return nil, err
	}
	s.stopped = ctx.Err
	for topic, all := range records {
		for _, r := range all {
			s.topic(topic)[r.Partition] = append(s.topic(topic)[r.Partition], r)
		}
	}
	if err := s.endEmpty(); err != nil {
		return nil, err
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	if end {
		if err := s.end(); err != nil {
			return nil, err
		}
	}
	out := make(map[string][]*kgo.Record)
	keep := func(topic string) { out[topic] = slices.Concat(s.topic(topic)...) }
	for _, sink := range p.Sinks {
		insert, ok := sink.Op.(*plan.Insert)
		if !ok {
			return nil, fmt.Errorf("no sink: %s", sink.Describe())
		}
		keep(insert.Table.Topic)
	}
	keep(p.Settings.DeadLetterTopic)
	keep(p.Settings.LateTopic)
	return out, nil
}

// endEmpty ends the partitions that have no records.
func (s *sim) endEmpty() error {
	for _, t := range s.tasks {
		for _, in := range t.stage.Inputs {
			scan, ok := in.Op.(*plan.Scan)
			if !ok || len(s.topic(scan.Table.Topic)[t.partition]) > 0 {
				continue
			}
			if err := s.transaction(t, s.options.Crash, func(out *operator.Output) error { return t.End(scan.Table.Topic, out) }); err != nil {
				return err
			}
		}
	}
	return nil
}
