package engine

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/plan"
)

// startup is where the partitions of a source are first read if its scan.startup.mode is a
// timestamp or the latest offset. The pipeline's first start decides it for the partitions that
// exist then, and records it in the plan. A restart does not decide again, not even for partitions
// without rows, because it would skip rows that have arrived in the meantime. Partitions that were
// added later are not listed, and are read from their beginning, as in Flink.
type startup struct {
	Mode    string          `json:"mode"`
	Offsets map[int32]int64 `json:"offsets,omitempty"` // by partition
}

// startupMode describes the startup mode of a table; "" if its topic is read from the beginning.
func startupMode(t *plan.Table) string {
	switch {
	case t.Kafka.Startup.Latest:
		return "latest-offset"
	case t.Kafka.Startup.Timestamp > 0:
		return fmt.Sprint("timestamp ", t.Kafka.Startup.Timestamp)
	}
	return ""
}

// reads reports whether a stage read the topic when the plan was written.
func (m *manifest) reads(topic string) bool {
	return m != nil && slices.ContainsFunc(m.Stages, func(s manifestStage) bool { return slices.Contains(s.Inputs, topic) })
}

// decideStartups decides where sources are first read. old is the plan of the last start, nil if
// there is none. used says that the pipeline has read its sources before: the positions of
// partitions with rows then contain what was decided.
func (p *pipeline) decideStartups(ctx context.Context, admin *kadm.Client, old *manifest, used bool) error {
	p.startups = make(map[string]*startup)
	tables := make(map[string]*plan.Table) // by topic, of topics that are decided
	for _, t := range p.sources() {
		mode, was := startupMode(t), (*startup)(nil)
		known := old.reads(t.Kafka.Topic)
		if known {
			was = old.Topics[t.Kafka.Topic].Startup
			if was != nil && old.Topics[t.Kafka.Topic].ID != p.ids[t.Kafka.Topic].String() {
				was = &startup{Mode: was.Mode} // created again: all of it came later
			}
		}
		keep, err := known && was.mode() == mode || used, error(nil)
		if known && !keep {
			keep, err = p.hasCommitted(ctx, admin)
		}
		switch other := tables[t.Kafka.Topic]; {
		case err != nil:
			return err
		case old.joined(t) && !known: // all of it came later
			if mode != "" {
				p.startups[t.Kafka.Topic] = &startup{Mode: mode}
			}
		case keep && was != nil:
			p.startups[t.Kafka.Topic] = was
		case keep && mode != "":
			p.startups[t.Kafka.Topic] = &startup{Mode: mode}
		case !keep && other != nil && startupMode(other) != mode:
			return &fatalError{fmt.Errorf("tables %s and %s read topic %s with different 'scan.startup.mode', but a pipeline reads a topic once: "+
				"give both the same mode, or read them in two pipelines", other.Name, t.Name, t.Kafka.Topic)}
		case !keep && other == nil && mode != "":
			if p.startups[t.Kafka.Topic], err = findStartup(ctx, admin, t); err != nil {
				return err
			}
		}
		tables[t.Kafka.Topic] = t
	}
	return nil
}

func (b *startup) mode() string {
	if b == nil {
		return ""
	}
	return b.Mode
}

// findStartup asks the cluster where a table starts, in all partitions that its topic has now.
func findStartup(ctx context.Context, admin *kadm.Client, t *plan.Table) (*startup, error) {
	list := admin.ListCommittedOffsets
	if !t.Kafka.Startup.Latest {
		list = func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return admin.ListOffsetsAfterMilli(ctx, t.Kafka.Startup.Timestamp, topics...)
		}
	}
	listed, err := listOffsets(ctx, "startup", list, t.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	b := &startup{Mode: startupMode(t), Offsets: make(map[int32]int64)}
	listed.Each(func(o kadm.ListedOffset) { b.Offsets[o.Partition] = o.Offset })
	return b, nil
}

// keepStartups adopts what an earlier plan decided for the same topics. If several processes start
// a pipeline for the first time, each writes a plan, and the first one counts.
func (m *manifest) keepStartups(earlier *manifest) {
	if earlier == nil {
		return
	}
	for topic, t := range m.Topics {
		was := earlier.Topics[topic]
		if t.Startup != nil && was.Startup.mode() == t.Startup.Mode && was.ID == t.ID {
			t.Startup = was.Startup
			m.Topics[topic] = t
		}
	}
}

// agreeOnStartups replaces what this process has decided and written at the first start by what
// another process wrote before it.
func (p *pipeline) agreeOnStartups(ctx context.Context) error {
	if len(p.startups) == 0 {
		return nil
	}
	written, err := p.readManifest(ctx)
	if err != nil || written == nil {
		return err
	}
	agreed := maps.Clone(p.startups)
	for topic := range agreed {
		if b := written.Topics[topic].Startup; b.mode() == agreed[topic].Mode {
			agreed[topic] = b
		}
	}
	if reflect.DeepEqual(agreed, p.startups) {
		return nil
	}
	p.startups = agreed
	return p.writeManifest(ctx)
}

// startupOf returns where a partition is first read; false if that is its beginning.
func (p *pipeline) startupOf(tp topicPartition) (offset int64, known bool) {
	if b := p.startups[tp.topic]; b != nil {
		offset, known = b.Offsets[tp.partition]
	}
	return offset, known
}
