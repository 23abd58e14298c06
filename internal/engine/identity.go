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

// What a pipeline and its state depend on in the cluster: which topics they are, and how many
// partitions they have. It is compared with the manifest when the pipeline starts, and with what
// was found then whenever partitions are assigned.

// manifestTopic is a topic as it was when the pipeline last started.
type manifestTopic struct {
	ID         string `json:"id"`
	Partitions int32  `json:"partitions"`
	Begin      *begin `json:"begin,omitempty"` // nil where it is read from its beginning
}

// ownTopic reports whether a topic is the pipeline's memory: its positions, its state, or rows
// between its stages.
func (p *pipeline) ownTopic(topic string) bool {
	return topic == p.positionsTopic() || slices.ContainsFunc(p.cfg.Program.Stages, func(s *plan.Stage) bool {
		return s.Stateful && s.Changelog == topic || slices.ContainsFunc(s.Inputs, func(in *plan.Relation) bool {
			_, exchange := in.Op.(*plan.Exchange)
			return exchange && in.Topic() == topic
		})
	})
}

// keyed reports whether rows are written to a topic by their keys, which would change places with
// the number of partitions.
func (p *pipeline) keyed(topic string) bool {
	return slices.ContainsFunc(p.cfg.Program.Sinks, func(r *plan.Relation) bool {
		t := r.Op.(*plan.Insert).Table //nolint:forcetypeassert // sinks are inserts
		return t.Topic == topic && (t.Upsert || t.Key.Name != "")
	})
}

// grownError says that a topic got partitions that the pipeline may take up, once it prepares
// again.
type grownError struct {
	topic    string
	was, now int32
}

func (e *grownError) Error() string {
	return fmt.Sprintf("topic %s had %d partitions and now has %d", e.topic, e.was, e.now)
}

// checkCount says what follows from the number of a topic's partitions: nil, a grownError, or an
// error that stops the pipeline.
func (p *pipeline) checkCount(topic string, was, now int32) error {
	switch {
	case was == now || topic == p.manifestTopic() || topic == p.positionsTopic():
		return nil
	case p.ownTopic(topic):
		return p.mismatch("topic %s belongs to the pipeline, had %d partitions, and now has %d: keys would not be found where they were", topic, was, now)
	case p.isSource(topic) && len(p.keepers(topic)) > 0:
		return p.mismatch("topic %s had %d partitions and now has %d: its keys may lie in other partitions than their state does. "+
			"To move the state, where every row of the old partitions is read and none of the new ones: weir run --repartition", topic, was, now)
	case p.keyed(topic):
		return p.mismatch("topic %s, which is written by key, had %d partitions and now has %d: the keys' next rows would lie in other partitions than their last ones. "+
			"To go on like that: weir run --repartition", topic, was, now)
	}
	return &grownError{topic, was, now}
}

// lookAtTopics asks for all topics of the pipeline. It fails for those that are gone.
func (p *pipeline) lookAtTopics(ctx context.Context, admin *kadm.Client) (kadm.TopicDetails, error) {
	topics, err := admin.ListTopics(ctx, slices.Sorted(maps.Keys(p.partitions))...)
	if err != nil {
		return nil, fmt.Errorf("look at the pipeline's topics: %w", err)
	}
	for topic := range p.partitions {
		if err := topics[topic].Err; err != nil {
			return nil, fmt.Errorf("look at topic %s: %w", topic, err)
		}
		if len(topics[topic].Partitions) == 0 {
			return nil, fmt.Errorf("look at topic %s: %w", topic, kerr.UnknownTopicOrPartition)
		}
	}
	return topics, nil
}

// checkTopics compares the topics with what they were when the pipeline started.
func (s *session) checkTopics(ctx context.Context) error {
	topics, err := s.p.lookAtTopics(ctx, s.group.Admin)
	if err != nil {
		return err
	}
	s.details = topics
	for topic, was := range s.p.partitions {
		if err := s.p.checkCount(topic, was, int32(len(topics[topic].Partitions))); err != nil { //nolint:gosec // few
			return err
		}
		if s.p.ownTopic(topic) && topics[topic].ID != s.p.ids[topic] {
			return s.p.replaced(topic, s.p.ids[topic].String(), topics[topic].ID.String())
		}
	}
	return nil
}

// replaced is the error of a topic of the pipeline's own that is no longer the one it was.
func (p *pipeline) replaced(topic, was, is string) error {
	return p.mismatch("topic %s, which belongs to the pipeline, was deleted and is another one now (its id was %s and is %s): what it held is lost", topic, was, is)
}

// checkIdentity compares the topics with what the manifest says of them.
func (p *pipeline) checkIdentity(old *manifest) error {
	topics := slices.SortedFunc(maps.Keys(old.Topics), func(a, b string) int {
		if own := p.ownTopic(a); own != p.ownTopic(b) { // last: a move that was interrupted has widened them, since a source was
			return map[bool]int{true: 1, false: -1}[own]
		}
		return strings.Compare(a, b)
	})
	for _, topic := range topics {
		was := old.Topics[topic]
		n, used := p.partitions[topic]
		if !used {
			continue
		}
		if id := p.ids[topic].String(); p.ownTopic(topic) && id != was.ID {
			return p.replaced(topic, was.ID, id)
		}
		var grown *grownError
		if err := p.checkCount(topic, was.Partitions, n); err != nil && !errors.As(err, &grown) && !p.repartitioned[topic] {
			return err
		}
	}
	return nil
}

// othersError says that the pipeline runs elsewhere, with other SQL.
type othersError struct{ err error }

func (e *othersError) Error() string { return e.err.Error() }
func (e *othersError) Unwrap() error { return e.err }

// leaveTime is how long a dead process may count as a member of the group, beyond the session
// timeout.
const leaveTime = 2 * time.Second

// checkAlone refuses to start while other members of the group are alive, for the reason that is
// given.
func (p *pipeline) checkAlone(ctx context.Context, admin *kadm.Client, why string) error {
	members, err := p.members(ctx, admin)
	if err != nil || len(members) == 0 {
		return err
	}
	return &othersError{fmt.Errorf("%s, and pipeline %s is running (%s): stop it first, or give this one another name (SET 'pipeline.name')",
		why, p.cfg.Program.Name, strings.Join(members, ", "))}
}

func (p *pipeline) members(ctx context.Context, admin *kadm.Client) ([]string, error) {
	return membersOf(ctx, admin, Group(p.cfg.Program))
}

// membersOf are the live members of a group, by client id and host.
func membersOf(ctx context.Context, admin *kadm.Client, name string) (members []string, err error) {
	groups, err := admin.DescribeGroups(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("look at group %s: %w", name, err)
	}
	group := groups[name]
	if errors.Is(group.Err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if group.Err != nil {
		return nil, fmt.Errorf("look at group %s: %w", name, group.Err)
	}
	for _, m := range group.Members {
		members = append(members, m.ClientID+" on "+m.ClientHost)
	}
	slices.Sort(members)
	return members, nil
}
