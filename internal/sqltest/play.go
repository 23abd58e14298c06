package sqltest

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/plan"
)

// Records returns the records that a test sends, in order.
func Records(p *plan.Program, test string) ([]*kgo.Record, error) {
	f, err := readFile(test)
	if err != nil {
		return nil, err
	}
	s, err := dryrun.New(p, dryrun.Options{Partitions: 1}, nil)
	if err != nil {
		return nil, err
	}
	var all []*kgo.Record
	for _, st := range f.steps {
		switch st.command {
		case "clock":
			s.Advance(st.wait)
		case "send":
			for i, value := range st.rows {
				r, err := s.Record(st.row(value))
				if err != nil {
					return nil, fmt.Errorf("%s, line %d, row %d: %w", test, st.line, i+1, err)
				}
				r.Partition = max(0, st.partition)
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// Play sends the rows of a test, ends all inputs, and returns the records of the pipeline's tables,
// in the order of their partitions. Clock steps advance the clock but make no input idle.
func Play(p *plan.Program, test string, o dryrun.Options) (map[string][]*kgo.Record, error) {
	f, err := readFile(test)
	if err != nil {
		return nil, err
	}
	o.Partitions = max(o.Partitions, f.partitions())
	s, err := dryrun.New(p, o, nil)
	if err != nil {
		return nil, err
	}
	for _, st := range f.steps {
		switch st.command {
		case "clock":
			s.Advance(st.wait)
		case "table":
			if err := s.SetTable(st.topic, st.rows); err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", test, st.line, err)
			}
		case "send":
			if err := st.send(s); err != nil {
				return nil, fmt.Errorf("%s, %w", test, err)
			}
		}
	}
	return written(s)
}

// PlayRecords is Play for records whose partitions are given. A partition's records keep their
// order.
func PlayRecords(p *plan.Program, records []*kgo.Record, o dryrun.Options) (map[string][]*kgo.Record, error) {
	s, err := dryrun.New(p, o, nil)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		s.Append(r)
		if o.Seed == 0 {
			continue
		}
		if err := s.Work(); err != nil {
			return nil, err
		}
	}
	return written(s)
}

func written(s *dryrun.Simulation) (map[string][]*kgo.Record, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return s.Written(), nil
}
