package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// checkAdoptable refuses to take up a pipeline that was begun without positions where its group has
// no offset of a partition that has rows: nothing says whether they were read, and from the
// beginning they would come twice. An empty state does not say so either, since rows that are
// filtered out, or go to another stage, leave none. It comes before anything is written, so that
// each start looks again until the group has its offsets.
func (p *pipeline) checkAdoptable(ctx context.Context, admin *kadm.Client) error {
	var topics []string
	for _, stage := range p.cfg.Program.Stages {
		for _, topic := range stage.Topics() {
			if !p.readsByGroup(topic) && !slices.Contains(topics, topic) {
				topics = append(topics, topic)
			}
		}
	}
	group, err := p.groupOffsets(ctx, admin, topics...)
	if err != nil {
		return err
	}
	ends, err := committedEnds(ctx, admin, topics...)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		for _, partition := range slices.Sorted(maps.Keys(ends[topic])) {
			if at, ok := group.Lookup(topic, partition); ends[topic][partition] == 0 || ok && at.Err == nil && at.At >= 0 {
				continue
			}
			return p.mismatch("an older version of Weir, which recorded no positions, has run the pipeline, and group %s has no offset of %s-%d: its rows would be lost or counted twice. "+
				"Where you know up to which offset they were read, set the group's offset to it (0 where none was)", Group(p.cfg.Program), topic, partition)
		}
	}
	return nil
}

// readsByGroup reports whether a table of a topic says that the group's offsets decide where it is
// read.
func (p *pipeline) readsByGroup(topic string) bool {
	for _, t := range p.sources() {
		if t.Topic == topic && t.Startup.Group {
			return true
		}
	}
	return false
}

// begun reports whether the pipeline has committed anything, with whatever SQL: state, positions,
// rows between stages, or offsets of its group. What a transaction wrote that was aborted does not
// count.
func (p *pipeline) begun(ctx context.Context, admin *kadm.Client) (bool, error) {
	memory, err := memoryTopics(ctx, admin, p.cfg.Program.Name)
	if err != nil {
		return false, err
	}
	for _, topic := range memory {
		if topic == p.manifestTopic() {
			continue
		}
		if found, err := holds(ctx, p.cfg.Broker, topic, func(*kgo.Record) bool { return true }); err != nil || found {
			return found, err
		}
	}
	group, err := admin.FetchOffsets(ctx, Group(p.cfg.Program))
	if errors.Is(err, kerr.GroupIDNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("fetch offsets of group %s: %w", Group(p.cfg.Program), err)
	}
	for _, o := range group.Sorted() {
		if o.Err == nil && o.At > 0 {
			return true, nil
		}
	}
	return false, nil
}

var errHolds = errors.New("a record is found")

// hasPositions reports whether a position of the pipeline is recorded anywhere.
func (p *pipeline) hasPositions(ctx context.Context) (bool, error) {
	for _, topic := range p.memory() {
		found, err := holds(ctx, p.cfg.Broker, topic, isPosition)
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// holds reports whether a topic holds such a record, and it is committed.
func holds(ctx context.Context, at broker.Config, topic string, such func(*kgo.Record) bool) (bool, error) {
	err := broker.ReadAll(ctx, at, topic, nil, func(r *kgo.Record) error {
		if such(r) {
			return errHolds
		}
		return nil
	})
	if errors.Is(err, errHolds) {
		return true, nil
	}
	return false, err
}
