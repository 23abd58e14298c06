package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/plan"
)

// A pipeline and its state depend on the identity of topics and their numbers of partitions. Both
// are compared with the manifest when the pipeline starts, and with what was found then whenever
// partitions are assigned.

// manifestTopic is a topic as it was when the pipeline last started.
type manifestTopic struct {
	ID         string   `json:"id"`
	Partitions int32    `json:"partitions"`
	Startup    *startup `json:"begin,omitempty"` // nil if it is read from its beginning
}

// isOwnTopic reports whether a topic belongs to the pipeline's state: its positions, a changelog,
// or rows between its stages.
func (p *pipeline) isOwnTopic(topic string) bool {
	return topic == p.positionsTopic() || slices.ContainsFunc(p.cfg.Program.Stages, func(s *plan.Stage) bool {
		return s.Stateful && s.Changelog == topic || slices.ContainsFunc(s.Inputs, func(in *plan.Relation) bool {
			_, exchange := in.Op.(*plan.Exchange)
			return exchange && in.Topic() == topic
		})
	})
}

// keyed reports whether rows are written to a topic by key. Their partitions depend on the number
// of partitions.
func (p *pipeline) keyed(topic string) bool {
	return slices.ContainsFunc(p.cfg.Program.Sinks, func(r *plan.Relation) bool {
		t := r.Op.(*plan.Insert).Table //nolint:forcetypeassert // a sink is an INSERT
		return t.Kafka.Topic == topic && (t.Upsert || t.Kafka.Key.Name != "")
	})
}

// grownError says that a topic got partitions that the pipeline can read once it is prepared again.
type grownError struct {
	topic    string
	was, now int32
}

func (e *grownError) Error() string {
	return fmt.Sprintf("topic %s had %d partitions and now has %d", e.topic, e.was, e.now)
}

// checkCount compares the numbers of a topic's partitions. It returns nil, a grownError, or an
// error that stops the pipeline.
func (p *pipeline) checkCount(topic string, was, now int32) error {
	switch {
	case was == now || topic == p.manifestTopic() || topic == p.positionsTopic():
		return nil
	case p.isOwnTopic(topic):
		return p.mismatch("topic %s belongs to the pipeline, had %d partitions and now has %d: state and rows would not be found under their keys", topic, was, now)
	case p.isSource(topic) && len(p.statefulReaders(topic)) > 0:
		return p.mismatch("topic %s had %d partitions and now has %d: keys may be in other partitions than their state. "+
			"To move the state, provided that every row of the old partitions is read and none of the new ones: weir run --repartition", topic, was, now)
	case p.keyed(topic):
		return p.mismatch("topic %s, which is written by key, had %d partitions and now has %d: new rows of a key would go to another partition than its older ones. "+
			"To accept that: weir run --repartition", topic, was, now)
	}
	return &grownError{topic, was, now}
}

// describeTopics describes all topics of the pipeline. It fails if one does not exist.
func (p *pipeline) describeTopics(ctx context.Context, admin *kadm.Client) (kadm.TopicDetails, error) {
	topics, err := admin.ListTopics(ctx, slices.Sorted(maps.Keys(p.partitions))...)
	if err != nil {
		return nil, fmt.Errorf("describe the pipeline's topics: %w", err)
	}
	for topic := range p.partitions {
		if err := topics[topic].Err; err != nil {
			return nil, fmt.Errorf("describe topic %s: %w", topic, err)
		}
		if len(topics[topic].Partitions) == 0 {
			return nil, fmt.Errorf("describe topic %s: %w", topic, kerr.UnknownTopicOrPartition)
		}
	}
	return topics, nil
}

// checkTopics compares the topics with those that the pipeline started with.
func (s *session) checkTopics(ctx context.Context) error {
	topics, err := s.p.describeTopics(ctx, s.group.Admin)
	if err != nil {
		return err
	}
	s.details = topics
	for topic, was := range s.p.partitions {
		if err := s.p.checkCount(topic, was, int32(len(topics[topic].Partitions))); err != nil { //nolint:gosec // small number
			return err
		}
		if s.p.isOwnTopic(topic) && topics[topic].ID != s.p.ids[topic] {
			return s.p.replacedError(topic, s.p.ids[topic].String(), topics[topic].ID.String())
		}
	}
	return s.p.checkMatches(ctx)
}

// replacedError reports that a topic of the pipeline was deleted and created again.
func (p *pipeline) replacedError(topic, was, is string) error {
	return p.mismatch("topic %s, which belongs to the pipeline, was deleted and is another one now (its id was %s and is %s): its contents are lost", topic, was, is)
}

// checkIdentity compares the topics with those in the manifest.
func (p *pipeline) checkIdentity(old *manifest) error {
	topics := slices.SortedFunc(maps.Keys(old.Topics), func(a, b string) int {
		switch own := p.isOwnTopic(a); { // own topics last: an interrupted move has widened them because a source was
		case own && !p.isOwnTopic(b):
			return 1
		case !own && p.isOwnTopic(b):
			return -1
		}
		return strings.Compare(a, b)
	})
	for _, topic := range topics {
		was := old.Topics[topic]
		n, used := p.partitions[topic]
		if !used {
			continue
		}
		if id := p.ids[topic].String(); p.isOwnTopic(topic) && id != was.ID {
			return p.replacedError(topic, was.ID, id)
		}
		var grown *grownError
		if err := p.checkCount(topic, was.Partitions, n); err != nil && !errors.As(err, &grown) && !p.repartitioned[topic] {
			return err
		}
	}
	return nil
}

// runningError says that the pipeline is running in another process that has to be stopped first.
type runningError struct{ err error }

func (e *runningError) Error() string { return e.err.Error() }
func (e *runningError) Unwrap() error { return e.err }

// leaveTime is how long a dead process may remain a member of the group after the session timeout.
const leaveTime = 2 * time.Second

// checkAlone refuses to start while the group has members. why explains what they must not see.
func (p *pipeline) checkAlone(ctx context.Context, admin *kadm.Client, why string) error {
	members, err := p.members(ctx, admin)
	if err != nil || len(members) == 0 {
		return err
	}
	return &runningError{fmt.Errorf("%s, and pipeline %s is running (%s): stop it first, or give this one another name (SET 'pipeline.name')",
		why, p.cfg.Program.Name, strings.Join(members, ", "))}
}

func (p *pipeline) members(ctx context.Context, admin *kadm.Client) ([]string, error) {
	return membersOf(ctx, admin, Group(p.cfg.Program))
}

// membersOf returns the client ids and hosts of a group's members.
func membersOf(ctx context.Context, admin *kadm.Client, name string) (members []string, err error) {
	groups, err := admin.DescribeGroups(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", name, err)
	}
	group := groups[name]
	if errors.Is(group.Err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if group.Err != nil {
		return nil, fmt.Errorf("describe group %s: %w", name, group.Err)
	}
	for _, m := range group.Members {
		members = append(members, m.ClientID+" on "+m.ClientHost)
	}
	slices.Sort(members)
	return members, nil
}
