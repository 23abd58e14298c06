package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// repartition accepts topics whose numbers of partitions have changed since the pipeline last ran.
// If a source of stages with state got more partitions, the state has to be moved (see move.go)
// before anything is read. Rows written by key may go to other partitions from now on.
//
// Until the move is complete, the plan has the old numbers of partitions, so that a run without
// --repartition refuses the new ones.
func (p *pipeline) repartition(ctx context.Context, admin *kadm.Client) error {
	old, err := p.readManifest(ctx)
	if err != nil || old == nil {
		return err
	}
	p.repartitioned = make(map[string]bool)
	var widened []*plan.Stage
	for _, topic := range slices.Sorted(maps.Keys(old.Topics)) {
		was, now := old.Topics[topic].Partitions, p.partitions[topic]
		if now == 0 || now == was || p.isOwnTopic(topic) {
			continue
		}
		if keepers := p.statefulReaders(topic); p.isSource(topic) && len(keepers) > 0 {
			if now < was {
				return p.mismatch("topic %s had %d partitions and now has only %d: it is another topic, and the state of its keys would not be found", topic, was, now)
			}
			widened = append(widened, keepers...)
		}
		p.repartitioned[topic] = true
		if p.keyed(topic) {
			p.cfg.Logger.Warn("the number of partitions of a topic that is written by key has changed: new rows of a key may go to another partition than its older ones", "topic", topic, "had", was, "has", now)
			continue
		}
		p.cfg.Logger.Warn("the number of partitions of a topic has changed", "topic", topic, "had", was, "has", now)
	}
	if len(p.repartitioned) == 0 {
		return nil
	}
	if err := p.checkAlone(ctx, admin, "--repartition changes topics of the pipeline"); err != nil {
		return err
	}
	if len(widened) > 0 {
		if !old.keepsSame(p.cfg.Program) {
			return p.mismatch("--repartition is not possible: this SQL keeps other state than the SQL that ran last: run that with --repartition first, and then this one")
		}
		if err := p.abortInterruptedMove(ctx); err != nil {
			return err
		}
	}
	for _, s := range p.cfg.Program.Stages {
		if !slices.Contains(widened, s) {
			continue
		}
		if err := p.canMove(s); err != nil {
			return err
		}
		was := int32(1)
		for _, topic := range s.Topics() {
			was = max(was, old.Topics[topic].Partitions)
		}
		if err := p.checkRead(ctx, admin, s, was); err != nil {
			return err
		}
		p.moving = append(p.moving, movedStage{stage: s, was: was, now: p.tasksOf(s)})
		p.partitions[s.Changelog], p.repartitioned[s.Changelog] = p.tasksOf(s), true
	}
	return nil
}

// canMove refuses stages whose state can't be moved along with its keys.
func (p *pipeline) canMove(s *plan.Stage) error {
	if err := p.checkEqual(s); err != nil {
		return err
	}
	if err := p.checkLanes(s); err != nil {
		return err
	}
	m := stageManifest(s)
	if len(m.State) == 0 {
		return nil // only watermarks
	}
	for _, in := range s.Inputs {
		if _, exchange := in.Op.(*plan.Exchange); exchange {
			return p.mismatch("--repartition is not possible: besides its sources %s reads %s, which is partitioned by another hash (%s)", s.Name, in.Topic(), m.State[0].Does)
		}
	}
	return nil
}

// checkLanes refuses more tasks of a stage that sends rows of a UNION through an exchange to
// SESSION windows. Their state contains lane numbers, which depend on the number of sending tasks:
// if that changes, a session would miss late rows of its own lane and get those of others.
func (p *pipeline) checkLanes(s *plan.Stage) error {
	for _, stage := range p.cfg.Program.Stages {
		for _, r := range stage.Relations {
			a, ok := r.Op.(*plan.Aggregate)
			if !ok || a.Window == nil || a.Window.Kind != plan.Session || !a.Window.Sliced {
				continue
			}
			if comesFrom(r, func(x *plan.Relation) bool { return sendsFrom(x, s) && comesFrom(x, isUnion) }) {
				return p.mismatch("--repartition is not possible: %s sends rows of a UNION to SESSION windows (%s), whose state depends on how many partitions it has", s.Name, r.Signature())
			}
		}
	}
	return nil
}

// comesFrom reports whether a relation that matches is upstream of r.
func comesFrom(r *plan.Relation, match func(*plan.Relation) bool) bool {
	return slices.ContainsFunc(r.Inputs, func(in *plan.Relation) bool { return match(in) || comesFrom(in, match) })
}

func sendsFrom(r *plan.Relation, s *plan.Stage) bool {
	_, exchange := r.Op.(*plan.Exchange)
	return exchange && r.Inputs[0].Stage == s
}

func isUnion(r *plan.Relation) bool {
	_, union := r.Op.(*plan.Union)
	return union && len(r.Inputs) > 1
}

// positionsIn reads the positions of a stage's tasks from its changelog, by partition and topic.
func (p *pipeline) positionsIn(ctx context.Context, s *plan.Stage) (map[int32]map[string]position, error) {
	stores := make(map[int32]*state.Store)
	err := broker.ReadAll(ctx, p.cfg.Broker, s.Changelog, nil, func(r *kgo.Record) error {
		if !isPosition(r) {
			return nil
		}
		if stores[r.Partition] == nil {
			stores[r.Partition] = state.Memory()
		}
		return stores[r.Partition].Restore(r.Key, r.Value)
	})
	if err != nil {
		return nil, fmt.Errorf("read positions from %s: %w", s.Changelog, err)
	}
	all := make(map[int32]map[string]position)
	for partition, store := range stores {
		if _, all[partition], err = p.newLedger(s, partition, store).read(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// checkRead refuses to move the state if the old partitions of the stage's topics, the first ones,
// have records that the state does not cover, or if records of new ones were read. A topic that was
// created again has no old partitions.
func (p *pipeline) checkRead(ctx context.Context, admin *kadm.Client, s *plan.Stage, was int32) error {
	topics := s.Topics()
	ends, err := listEnds(ctx, admin, topics...)
	if err != nil {
		return err
	}
	starts, err := listStarts(ctx, admin, topics...)
	if err != nil {
		return err
	}
	details, err := admin.ListTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("describe the topics of %s: %w", s.Name, err)
	}
	group, err := p.groupOffsets(ctx, admin, topics...)
	if err != nil {
		return err
	}
	positions, err := p.positionsIn(ctx, s)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		id := details[topic].ID.String()
		for partition := range p.partitions[topic] {
			end, _ := ends.Lookup(topic, partition)
			start, _ := starts.Lookup(topic, partition)
			read := int64(0)
			at, known := positions[partition][topic]
			recreated := known && at.ID != id
			if known && !recreated {
				read = at.Next
			}
			if partition < was && !recreated && read < end.Offset {
				return p.mismatch("--repartition is not possible: %s-%d is read up to offset %d of %d: the rows of a key would be read out of order", topic, partition, read, end.Offset)
			}
			if offset, ok := group.Lookup(topic, partition); ok {
				read = max(read, offset.At)
			}
			if partition >= was && read > start.Offset {
				return p.mismatch("--repartition is not possible: the new partition %s-%d is read up to offset %d already", topic, partition, read)
			}
		}
	}
	return nil
}
