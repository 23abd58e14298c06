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

// checkAdoptable refuses to adopt a pipeline that was started without positions if its group has no
// offset for a partition with rows: it is unknown whether they were read, and reading them again
// would duplicate them. An empty state proves nothing, because rows that are filtered out or go to
// another stage leave none. The check runs before anything is written, so that each start repeats
// it until the group has its offsets.
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
			return p.mismatch("an older version of Weir, which recorded no positions, has run the pipeline, and group %s has no offset for %s-%d: its rows would be lost or counted twice. "+
				"If you know up to which offset they were read, set the group's offset to it (0 if none was)", Group(p.cfg.Program), topic, partition)
		}
	}
	return nil
}

// readsByGroup reports whether a table makes the group's offsets decide where its topic is read.
func (p *pipeline) readsByGroup(topic string) bool {
	for _, t := range p.sources() {
		if t.Kafka.Topic == topic && t.Kafka.Startup.Group {
			return true
		}
	}
	return false
}

// hasCommitted reports whether the pipeline has committed anything, with any SQL: state, positions,
// rows between stages, or offsets of its group. Aborted records do not count.
func (p *pipeline) hasCommitted(ctx context.Context, admin *kadm.Client) (bool, error) {
	memory, err := memoryTopics(ctx, admin, p.cfg.Program.Name)
	if err != nil {
		return false, err
	}
	for _, topic := range memory {
		if topic == p.manifestTopic() {
			continue
		}
		if found, err := containsRecord(ctx, p.cfg.Broker, topic, func(*kgo.Record) bool { return true }); err != nil || found {
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

var errFound = errors.New("record found")

// hasPositions reports whether any position of the pipeline is recorded.
func (p *pipeline) hasPositions(ctx context.Context) (bool, error) {
	for _, topic := range p.stateTopics() {
		found, err := containsRecord(ctx, p.cfg.Broker, topic, isPosition)
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// containsRecord reports whether a topic has a committed record that matches.
func containsRecord(ctx context.Context, at broker.Config, topic string, match func(*kgo.Record) bool) (bool, error) {
	err := broker.ReadAll(ctx, at, topic, nil, func(r *kgo.Record) error {
		if match(r) {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}
