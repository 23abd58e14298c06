package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir/plan"
)

// repartition takes topics as they are that have other numbers of partitions than when the pipeline last ran. A source may have got
// more where the tasks that read it keep nothing by key, all of its old partitions is read, and nothing of the new ones: then no row
// misses what rows before it have left elsewhere. Rows that are written by key may go to other partitions from now on.
func (p *pipeline) repartition(ctx context.Context, admin *kadm.Client) error {
	old, err := p.readManifest(ctx)
	if err != nil || old == nil {
		return err
	}
	p.repartitioned = make(map[string]bool)
	for _, topic := range slices.Sorted(maps.Keys(old.Topics)) {
		was, now := old.Topics[topic].Partitions, p.partitions[topic]
		switch {
		case now == 0 || now == was || p.ownTopic(topic):
			continue
		case p.isSource(topic) && len(p.keepers(topic)) > 0:
			if err := p.widen(ctx, admin, topic, was); err != nil {
				return err
			}
		}
		p.repartitioned[topic] = true
		p.Logger.Warn("the topic has another number of partitions from now on", "topic", topic, "had", was, "has", now)
	}
	if len(p.repartitioned) == 0 {
		return nil
	}
	return p.checkAlone(ctx, admin, "--repartition changes topics of the pipeline")
}

// widen gives the tasks of a source's new partitions a place for their state.
func (p *pipeline) widen(ctx context.Context, admin *kadm.Client, topic string, was int32) error {
	now := p.partitions[topic]
	if now < was {
		return p.mismatch("topic %s had %d partitions and now has %d: it is another topic, and the state of its keys would not be found", topic, was, now)
	}
	for _, s := range p.keepers(topic) {
		if m := stageManifest(s); len(m.State) > 0 {
			return p.mismatch("--repartition is not possible: topic %s had %d partitions and now has %d, and %s keeps state by its keys (%s), which may lie in other partitions now", topic, was, now, s.Name, m.State[0].Does)
		}
	}
	if err := p.checkRead(ctx, admin, topic, was); err != nil {
		return err
	}
	for _, s := range p.keepers(topic) {
		if err := p.widenChangelog(ctx, admin, s); err != nil {
			return err
		}
	}
	return nil
}

func (p *pipeline) widenChangelog(ctx context.Context, admin *kadm.Client, s *plan.Stage) error {
	n := p.tasksOf(s)
	if p.partitions[s.Changelog] < n {
		resp, err := admin.UpdatePartitions(ctx, int(n), s.Changelog)
		if err == nil {
			err = resp.Error()
		}
		if err != nil {
			return fmt.Errorf("add partitions to topic %s: %w", s.Changelog, err)
		}
	}
	p.partitions[s.Changelog], p.repartitioned[s.Changelog] = n, true
	return nil
}

// checkRead refuses where the old partitions of a topic, the first ones, have records that are not read, or the new ones some that are.
func (p *pipeline) checkRead(ctx context.Context, admin *kadm.Client, topic string, old int32) error {
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("find the end of %s: %w", topic, err)
	}
	group, err := p.groupOffsets(ctx, admin, topic)
	if err != nil {
		return err
	}
	for partition := range p.partitions[topic] {
		end, _ := ends.Lookup(topic, partition)
		at, read := group.Lookup(topic, partition)
		read = read && at.At > 0
		if partition < old && end.Offset > 0 && (!read || at.At < end.Offset) {
			return p.mismatch("--repartition is not possible: %s-%d is read up to offset %d of %d: rows of a key would be read out of their order", topic, partition, max(at.At, 0), end.Offset)
		}
		if partition >= old && read {
			return p.mismatch("--repartition is not possible: the new partition %s-%d is read up to offset %d already", topic, partition, at.At)
		}
	}
	return nil
}
