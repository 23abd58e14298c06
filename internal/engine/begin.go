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

// begin is where the partitions of a source are first read whose scan.startup.mode is a time or the
// latest offset. The pipeline's first start decides it for the partitions that exist then, and
// keeps it in the plan: neither a restart nor a partition without rows decides again, since rows
// that have come meanwhile would be passed over. Partitions that came later are not listed, and are
// read from their beginning, as in Flink.
type begin struct {
	Mode    string          `json:"mode"`
	Offsets map[int32]int64 `json:"offsets,omitempty"` // by partition
}

// startupMode is the mode by which a table's topic has a begin; "" where it is read from its
// beginning.
func startupMode(t *plan.Table) string {
	switch {
	case t.Startup.Latest:
		return "latest-offset"
	case t.Startup.Timestamp > 0:
		return fmt.Sprint("timestamp ", t.Startup.Timestamp)
	}
	return ""
}

// reads reports whether a topic was a source, or one between stages, when the plan was written.
func (m *manifest) reads(topic string) bool {
	return m != nil && slices.ContainsFunc(m.Stages, func(s manifestStage) bool { return slices.Contains(s.Inputs, topic) })
}

// decideBegins finds where sources are first read. old is the plan of the last start, nil where
// there is none. used says that the pipeline has read its sources before: what was decided then is
// in the positions of the partitions that had rows.
func (p *pipeline) decideBegins(ctx context.Context, admin *kadm.Client, old *manifest, used bool) error {
	p.begins = make(map[string]*begin)
	tables := make(map[string]*plan.Table) // of topics that are done
	for _, t := range p.sources() {
		mode, was := startupMode(t), (*begin)(nil)
		known := old.reads(t.Topic)
		if known {
			was = old.Topics[t.Topic].Begin
			if was != nil && old.Topics[t.Topic].ID != p.ids[t.Topic].String() {
				was = &begin{Mode: was.Mode} // another topic: all of it came later
			}
		}
		keep, err := known && was.mode() == mode || used, error(nil)
		if known && !keep {
			keep, err = p.begun(ctx, admin)
		}
		switch other := tables[t.Topic]; {
		case err != nil:
			return err
		case keep && was != nil:
			p.begins[t.Topic] = was
		case keep && mode != "":
			p.begins[t.Topic] = &begin{Mode: mode}
		case !keep && other != nil && startupMode(other) != mode:
			return &fatalError{fmt.Errorf("tables %s and %s read topic %s, from different places by 'scan.startup.mode', and a pipeline reads a topic once: "+
				"give both the same mode, or read them in two pipelines", other.Name, t.Name, t.Topic)}
		case !keep && other == nil && mode != "":
			if p.begins[t.Topic], err = findBegin(ctx, admin, t); err != nil {
				return err
			}
		}
		tables[t.Topic] = t
	}
	return nil
}

func (b *begin) mode() string {
	if b == nil {
		return ""
	}
	return b.Mode
}

// findBegin asks the cluster where a table begins, of all partitions that its topic has now.
func findBegin(ctx context.Context, admin *kadm.Client, t *plan.Table) (*begin, error) {
	list := admin.ListCommittedOffsets
	if !t.Startup.Latest {
		list = func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return admin.ListOffsetsAfterMilli(ctx, t.Startup.Timestamp, topics...)
		}
	}
	listed, err := listOffsets(ctx, "startup", list, t.Topic)
	if err != nil {
		return nil, err
	}
	b := &begin{Mode: startupMode(t), Offsets: make(map[int32]int64)}
	listed.Each(func(o kadm.ListedOffset) { b.Offsets[o.Partition] = o.Offset })
	return b, nil
}

// keepBegins takes what an earlier plan says of the same topics: of several processes that make the
// pipeline's first start at once, each of which writes a plan, the first has decided.
func (m *manifest) keepBegins(earlier *manifest) {
	if earlier == nil {
		return
	}
	for topic, t := range m.Topics {
		was := earlier.Topics[topic]
		if t.Begin != nil && was.Begin.mode() == t.Begin.Mode && was.ID == t.ID {
			t.Begin = was.Begin
			m.Topics[topic] = t
		}
	}
}

// agreeOnBegins replaces what this process has decided and written at the first start by what
// another one had written before it.
func (p *pipeline) agreeOnBegins(ctx context.Context) error {
	if len(p.begins) == 0 {
		return nil
	}
	written, err := p.readManifest(ctx)
	if err != nil || written == nil {
		return err
	}
	agreed := maps.Clone(p.begins)
	for topic := range agreed {
		if b := written.Topics[topic].Begin; b.mode() == agreed[topic].Mode {
			agreed[topic] = b
		}
	}
	if reflect.DeepEqual(agreed, p.begins) {
		return nil
	}
	p.begins = agreed
	return p.writeManifest(ctx)
}

// beginOf is where a partition is first read; false where that is its beginning.
func (p *pipeline) beginOf(tp topicPartition) (offset int64, known bool) {
	if b := p.begins[tp.topic]; b != nil {
		offset, known = b.Offsets[tp.partition]
	}
	return offset, known
}
