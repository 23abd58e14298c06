package sqltest

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/plan"
)

// Preview runs a pipeline over records of its sources, by topic in the order in which they are read, as one task of each
// stage. With end, the inputs end behind them, so that all windows close. It writes nothing anywhere: what the pipeline would
// write comes back by topic, dead letters and late rows with their reason in the header "reason".
func Preview(p *plan.Program, records map[string][]*kgo.Record, end bool) (map[string][]*kgo.Record, error) {
	s, err := newSim(p, Options{Partitions: 1})
	if err != nil {
		return nil, err
	}
	for topic, all := range records {
		s.topics[topic] = [][]*kgo.Record{all}
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
	keep := func(topic string) { out[topic] = s.topic(topic)[0] }
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
