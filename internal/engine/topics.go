package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// prepareTopics creates missing topics: those of the pipeline's state, and those of the tables that
// it writes. The topics that it reads must exist.
func (p *pipeline) prepareTopics(ctx context.Context, admin *kadm.Client) error {
	p.partitions = make(map[string]int32)
	width := int32(1)
	for _, t := range p.sources() {
		if t.Unmatched() {
			return &NoTopicError{Table: t.Name, Pattern: t.Pattern}
		}
		n, err := partitionsOf(ctx, admin, t.Kafka.Topic)
		if err != nil {
			return err
		}
		if n == 0 {
			return &NoTopicError{Table: t.Name, Topic: t.Kafka.Topic, Pattern: t.Pattern}
		}
		p.partitions[t.Kafka.Topic] = n
		width = max(width, n)
	}
	declared := p.ownTopics(width)
	for _, sink := range p.cfg.Program.Sinks {
		t := sink.Op.(*plan.Insert).Table //nolint:forcetypeassert // a sink is an INSERT
		topic := broker.Topic{Name: t.Kafka.Topic, Partitions: width}
		switch {
		case t.Discards():
			continue
		case t.Delivery != nil: // every change is needed until it is delivered, deletions too
			topic.Retention, topic.CleanupPolicy, topic.Config = "7d", "delete", largeRecords()
		case t.Upsert:
			topic.CleanupPolicy = "compact"
		}
		declared = append(declared, topic)
	}
	var written []string
	for _, t := range declared {
		written = append(written, t.Name)
	}
	seen := make(map[string]bool)
	declared = slices.DeleteFunc(declared, func(t broker.Topic) bool {
		again := seen[t.Name] || p.partitions[t.Name] > 0
		seen[t.Name] = true
		return again
	})
	if err := broker.EnsureTopics(ctx, admin, declared); err != nil {
		return fmt.Errorf("create the pipeline's topics: %w", err)
	}
	for _, t := range declared {
		n, err := partitionsOf(ctx, admin, t.Name)
		if err == nil && n == 0 { // the broker does not know it yet
			err = fmt.Errorf("describe topic %s: %w", t.Name, kerr.UnknownTopicOrPartition)
		}
		if err != nil {
			return err
		}
		p.partitions[t.Name] = n
	}
	if err := p.widenPositionsTopic(ctx, admin); err != nil {
		return err
	}
	p.repartitioned, p.moving = nil, nil
	if p.cfg.Repartition {
		if err := p.repartition(ctx, admin); err != nil {
			return err
		}
	}
	if err := p.checkPartitions(); err != nil {
		return err
	}
	if err := p.checkAcceptLoss(); err != nil {
		return err
	}
	if err := p.checkSettings(ctx, admin); err != nil {
		return err
	}
	p.outTopics = written
	if err := p.findIDs(ctx, admin); err != nil {
		return err
	}
	return p.checkCompacted(ctx, admin)
}

// NoTopicError says that a table reads a topic that does not exist, or that the queried broker does
// not know yet.
type NoTopicError struct {
	Table, Topic string
	Pattern      string // that the topic matched; without a topic, one that none matches
}

// Missing says what is missing.
func (e *NoTopicError) Missing() string {
	if e.Topic == "" {
		return "no topic matches '" + e.Pattern + "'"
	}
	return "topic " + e.Topic + " does not exist"
}

// Error names table and topic.
func (e *NoTopicError) Error() string {
	switch {
	case e.Topic == "":
		return fmt.Sprintf("table %s reads the topics that match '%s', and there is none: create one, or start its producer", e.Table, e.Pattern)
	case e.Pattern != "":
		return fmt.Sprintf("table %s reads topic %s, which matched '%s' in an earlier start and does not exist any more, but its rows are part of the state: "+
			"create it again, or start without state: weir run --reset", e.Table, e.Topic, e.Pattern)
	}
	return fmt.Sprintf("table %s reads topic %s, which does not exist: create it, or start its producer", e.Table, e.Topic)
}

// ownTopics returns the topics that belong to the pipeline: dead letters, late rows, its plan,
// repartitioned rows, and state.
func (p *pipeline) ownTopics(width int32) []broker.Topic {
	s := p.cfg.Program.Settings
	declared := []broker.Topic{
		{Name: s.DeadLetterTopic, Partitions: width}, {Name: s.LateTopic, Partitions: width},
		{Name: p.manifestTopic(), Partitions: 1, CleanupPolicy: "compact"},
	}
	for _, stage := range p.cfg.Program.Stages {
		for _, in := range stage.Inputs {
			if x, ok := in.Op.(*plan.Exchange); ok {
				p.partitions[in.Topic()] = 0
				n := width
				if x.Broadcast {
					n = p.sourceWidth(stage, width)
				}
				declared = append(declared, broker.Topic{Name: in.Topic(), Partitions: n, Retention: "7d", Config: largeRecords()})
			}
		}
	}
	if n := p.positionsPartitions(); n > 0 {
		declared = append(declared, broker.Topic{Name: p.positionsTopic(), Partitions: n, CleanupPolicy: "compact"})
	}
	for _, stage := range p.cfg.Program.Stages {
		if stage.Stateful {
			n := int32(0)
			for _, topic := range stage.Topics() {
				if known := p.partitions[topic]; known > 0 {
					n = max(n, known)
				} else {
					n = max(n, width)
				}
			}
			declared = append(declared, broker.Topic{Name: stage.Changelog, Partitions: n, CleanupPolicy: "compact", Config: changelogConfig()})
		}
	}
	return declared
}

// sourceWidth returns the number of partitions of the tables that a stage reads; otherwise if it
// reads none.
func (p *pipeline) sourceWidth(stage *plan.Stage, otherwise int32) int32 {
	n := int32(0)
	for _, in := range stage.Inputs {
		if scan, ok := in.Op.(*plan.Scan); ok {
			n = max(n, p.partitions[scan.Table.Kafka.Topic])
		}
	}
	return cmp.Or(n, otherwise)
}

func changelogConfig() map[string]string {
	c := largeRecords()
	c["delete.retention.ms"] = strconv.FormatInt(tombstonesKept.Milliseconds(), 10)
	return c
}

func largeRecords() map[string]string {
	return map[string]string{"max.message.bytes": strconv.Itoa(ownLimit)}
}

// partitionsOf returns the number of a topic's partitions; 0 if it does not exist.
func partitionsOf(ctx context.Context, admin *kadm.Client, topic string) (int32, error) {
	topics, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	t := topics[topic]
	if errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
		return 0, nil
	}
	if t.Err != nil {
		return 0, fmt.Errorf("describe topic %s: %w", topic, t.Err)
	}
	return int32(len(t.Partitions)), nil //nolint:gosec // small number
}

// checkPartitions refuses topics whose rows meet by key but are not copartitioned, and changelogs
// with another number of partitions than their inputs.
func (p *pipeline) checkPartitions() error {
	for _, s := range p.cfg.Program.Stages {
		if err := p.checkEqual(s); err != nil {
			return err
		}
		if n := p.tasksOf(s); s.Stateful && p.partitions[s.Changelog] != n {
			return p.mismatch("the state in %s has %d partitions, but its input %s now has %d: the state of a key would not be found. "+
				"To move the state, provided that every row of the old partitions is read and none of the new ones: weir run --repartition. "+
				"To keep the old state and start without it, give the pipeline another name (SET 'pipeline.name')", s.Changelog, p.partitions[s.Changelog], strings.Join(s.Topics(), ", "), n)
		}
	}
	return nil
}

// checkEqual refuses a stage whose rows meet by key if its topics have different numbers of
// partitions.
func (p *pipeline) checkEqual(s *plan.Stage) error {
	topics := s.Topics()
	for _, topic := range topics[1:] {
		if s.Copartitioned && p.partitions[topic] != p.partitions[topics[0]] {
			return &fatalError{fmt.Errorf("topic %s has %d partitions and %s has %d: rows that meet by key must be in equal partitions; give both topics the same number",
				topics[0], p.partitions[topics[0]], topic, p.partitions[topic])}
		}
	}
	return nil
}

func (p *pipeline) findIDs(ctx context.Context, admin *kadm.Client) error {
	topics, err := p.describeTopics(ctx, admin)
	if err != nil {
		return err
	}
	p.ids = make(map[string]kadm.TopicID)
	for topic := range p.partitions {
		p.ids[topic] = topics[topic].ID
	}
	return nil
}

// stateTopics returns the topics that hold the pipeline's positions and state.
func (p *pipeline) stateTopics() (topics []string) {
	if p.positionsPartitions() > 0 {
		topics = append(topics, p.positionsTopic())
	}
	for _, s := range p.cfg.Program.Stages {
		if s.Stateful {
			topics = append(topics, s.Changelog)
		}
	}
	return topics
}

// positionsPartitions returns how many partitions the positions topic needs; 0 if stateful stages
// read every topic.
func (p *pipeline) positionsPartitions() (n int32) {
	for _, t := range p.sources() {
		if len(p.statefulReaders(t.Kafka.Topic)) == 0 {
			n = max(n, p.partitions[t.Kafka.Topic])
		}
	}
	return n
}

// widenPositionsTopic adds missing partitions to the positions topic.
func (p *pipeline) widenPositionsTopic(ctx context.Context, admin *kadm.Client) error {
	topic, n := p.positionsTopic(), p.positionsPartitions()
	if p.partitions[topic] >= n {
		return nil
	}
	resp, err := admin.UpdatePartitions(ctx, int(n), topic)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return fmt.Errorf("add partitions to topic %s: %w", topic, err)
	}
	p.partitions[topic] = n
	return nil
}
