package console

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/console/api"
)

// cluster is the latest state of the broker.
type cluster struct {
	admin *kadm.Client
	now   func() time.Time

	mu   sync.Mutex
	seen clusterState
}

// clusterState is the result of one poll. It is immutable.
type clusterState struct {
	At              time.Time
	Err             string // error of the last poll, if it failed; the other fields are then from an earlier one
	Brokers         []api.Broker
	Topics          []topicState         // by name
	Groups          []api.Group          // by name
	Open            int                  // open transactions; -1 if unknown
	UnderReplicated int                  // partitions
	Offline         int                  // partitions without a leader
	committed       map[groupTopic]int64 // sums of committed offsets
}

// topicState is a topic with the sum of its end offsets.
type topicState struct {
	api.Topic
	ends int64
}

// groupTopic is a topic read by a group.
type groupTopic struct{ group, topic string }

func newCluster(admin *kadm.Client, now func() time.Time) *cluster {
	return &cluster{admin: admin, now: now, seen: clusterState{Open: -1}}
}

// state returns the latest state.
func (c *cluster) state() clusterState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

func (c *cluster) partitions() (n int) {
	for _, t := range c.state().Topics {
		n += len(t.Partitions)
	}
	return n
}

// pollTimeout bounds a poll of the broker.
const pollTimeout = 5 * time.Second

// poll replaces the state. If a request fails, the previous state remains, with the error.
func (c *cluster) poll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	before := c.state()
	next, err := c.fetch(ctx, &before)
	if err != nil {
		next = before
		next.Err = err.Error()
		next.Open = -1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = next
}

func (c *cluster) fetch(ctx context.Context, before *clusterState) (clusterState, error) {
	next := clusterState{At: c.now(), Open: -1}
	meta, err := c.admin.Metadata(ctx)
	if err != nil {
		return next, err
	}
	for _, b := range meta.Brokers {
		next.Brokers = append(next.Brokers, api.Broker{ID: b.NodeID, Host: b.Host, Controller: b.NodeID == meta.Controller})
	}
	names := meta.Topics.Names()
	starts, err := c.admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return next, err
	}
	stable, err := c.admin.ListCommittedOffsets(ctx, names...)
	if err != nil {
		return next, err
	}
	ends, err := c.admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return next, err
	}
	seconds := next.At.Sub(before.At).Seconds()
	for _, t := range meta.Topics.Sorted() {
		next.Topics = append(next.Topics, topicOf(&t, starts, stable, ends, before.topic(t.Topic), seconds))
	}
	for _, t := range next.Topics {
		next.UnderReplicated += t.UnderReplicated
		next.Offline += t.Offline
	}
	if err := c.groups(ctx, &next, before, seconds); err != nil {
		return next, err
	}
	if open, err := c.admin.ListTransactions(ctx, nil, []string{"Ongoing"}); err == nil {
		next.Open = len(open)
	}
	return next, nil
}

func topicOf(t *kadm.TopicDetail, starts, stable, ends kadm.ListedOffsets, before *topicState, seconds float64) topicState {
	s := topicState{Topic: api.Topic{Name: t.Topic, Internal: t.IsInternal}}
	for _, p := range t.Partitions.Sorted() {
		at := func(l kadm.ListedOffsets) int64 {
			if o, ok := l.Lookup(t.Topic, p.Partition); ok && o.Err == nil {
				return o.Offset
			}
			return 0
		}
		one := api.Partition{ID: p.Partition, Leader: p.Leader, Replicas: p.Replicas, ISR: p.ISR, Start: at(starts), Stable: at(stable), End: at(ends)}
		if before != nil && int(p.Partition) < len(before.Partitions) {
			one.Rate = rate(one.End-before.Partitions[p.Partition].End, seconds)
		}
		s.Partitions = append(s.Partitions, one)
		s.Records += one.End - one.Start
		s.ends += one.End
		s.Replicas = max(s.Replicas, len(p.Replicas))
		if len(p.ISR) < len(p.Replicas) {
			s.UnderReplicated++
		}
		if p.Leader < 0 {
			s.Offline++
		}
	}
	if before != nil {
		s.Rate = smooth(before.Rate, rate(s.ends-before.ends, seconds))
	}
	return s
}

// groups adds the consumer groups to next.
func (c *cluster) groups(ctx context.Context, next, before *clusterState, seconds float64) error {
	listed, err := c.admin.ListGroups(ctx)
	if err != nil {
		return err
	}
	names := listed.Groups()
	if len(names) == 0 {
		return nil
	}
	lags, err := c.admin.Lag(ctx, names...)
	if err != nil {
		return err
	}
	next.committed = make(map[groupTopic]int64)
	for _, l := range lags.Sorted() {
		g := api.Group{Name: l.Group, State: l.State, Members: len(l.Members), Topics: []api.TopicLag{}}
		for topic, partitions := range l.Lag {
			t, at := api.TopicLag{Topic: topic}, groupTopic{l.Group, topic}
			for _, p := range partitions {
				t.Lag += max(0, p.Lag)
				next.committed[at] += max(0, p.Commit.At)
			}
			if old := before.group(g.Name).Topic(topic); old != nil {
				t.Rate = smooth(old.Rate, rate(next.committed[at]-before.committed[at], seconds))
			}
			g.Lag += t.Lag
			g.Rate += t.Rate
			g.Topics = append(g.Topics, t)
		}
		slices.SortFunc(g.Topics, func(a, b api.TopicLag) int { return strings.Compare(a.Topic, b.Topic) })
		next.Groups = append(next.Groups, g)
	}
	return nil
}

func (s *clusterState) topic(name string) *topicState {
	i, ok := slices.BinarySearchFunc(s.Topics, name, func(t topicState, name string) int { return cmp.Compare(t.Name, name) })
	if !ok {
		return nil
	}
	return &s.Topics[i]
}

func (s *clusterState) group(name string) *api.Group {
	for i := range s.Groups {
		if s.Groups[i].Name == name {
			return &s.Groups[i]
		}
	}
	return nil
}

// rate returns n per second, or 0 if no time has passed, or if n is negative because a topic was
// recreated.
func rate(n int64, seconds float64) float64 {
	if seconds <= 0 || n < 0 {
		return 0
	}
	return float64(n) / seconds
}

// smooth averages a rate with the previous one, since offsets advance by whole transactions.
func smooth(before, now float64) float64 {
	if before == 0 || now == 0 {
		return now
	}
	return 0.5*before + 0.5*now
}
