package sqltest

import (
	"fmt"
	"os"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

// Play sends the rows of a test, without its clock, ends all inputs, and returns the records that
// the pipeline has written to the topics of its tables, in the order of their partitions. Where o
// has none, rows lie in the partitions that the test names, and in the first otherwise.
func Play(p *plan.Program, test string, o Options) (map[string][]*kgo.Record, error) {
	script, err := os.ReadFile(test) //nolint:gosec // the user's file
	if err != nil {
		return nil, err
	}
	f, err := parseFile(string(script))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", test, err)
	}
	o.Partitions = max(o.Partitions, f.partitions())
	s, err := newSim(p, o, nil)
	if err != nil {
		return nil, err
	}
	for _, st := range f.steps {
		switch st.command {
		case "clock":
			s.clock = s.clock.Add(st.wait)
			continue
		case "send":
		default:
			continue
		}
		for i, row := range st.rows {
			if err := s.send(st, row); err != nil {
				return nil, fmt.Errorf("%s, line %d, row %d: %w", test, st.line, i+1, err)
			}
		}
		if err := s.work(); err != nil {
			return nil, err
		}
	}
	return s.written()
}

// PlayRecords is Play over records that lie in partitions already: each partition gets its records
// in the order in which they are given. The late rows are among what it returns, by the name of
// their topic.
func PlayRecords(p *plan.Program, records []*kgo.Record, o Options) (map[string][]*kgo.Record, error) {
	s, err := newSim(p, o, nil)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		partitions := s.topic(r.Topic)
		copied := *r
		copied.Offset = int64(len(partitions[r.Partition]))
		partitions[r.Partition] = append(partitions[r.Partition], &copied)
		if s.random != nil {
			if err := s.work(); err != nil {
				return nil, err
			}
		}
	}
	return s.written()
}

// written ends all inputs and returns the records of the pipeline's topics, in the order of their
// partitions.
func (s *sim) written() (map[string][]*kgo.Record, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	out := map[string][]*kgo.Record{s.program.Settings.LateTopic: slices.Concat(s.topic(s.program.Settings.LateTopic)...)}
	for _, t := range s.program.Tables {
		out[t.Topic] = slices.Concat(s.topic(t.Topic)...)
	}
	return out, nil
}
