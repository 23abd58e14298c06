package console

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// cluster keeps what the broker last told.
type cluster struct {
	admin *kadm.Client
	now   func() time.Time

	mu   sync.Mutex
	seen clusterState
}

// clusterState is one look at the broker. It is not changed after it was made.
type clusterState struct {
	At      time.Time
	Err     string // what the last look failed with; the rest is then of an older one
	Brokers []brokerState
	Topics  []topicState // by name
	Groups  []groupState // by name
	Open    int          // transactions under way; -1 when the broker did not say
	Under   int          // partitions with fewer replicas in sync than they should have
	Offline int          // partitions without a leader
}

type brokerState struct {
	ID         int32  `json:"id"`
	Host       string `json:"host"`
	Controller bool   `json:"controller"`
}

type topicState struct {
	Name       string           `json:"name"`
	Internal   bool             `json:"internal"`
	Partitions []partitionState `json:"partitions,omitempty"`
	Records    int64            `json:"records"` // offsets between start and end: aborted records and markers count too
	Rate       float64          `json:"rate"`    // offsets a second
	Replicas   int              `json:"replicas"`
	Under      int              `json:"under_replicated"`
	Offline    int              `json:"offline"`
	ends       int64
}

type partitionState struct {
	ID       int32   `json:"id"`
	Leader   int32   `json:"leader"`
	Replicas []int32 `json:"replicas"`
	ISR      []int32 `json:"isr"`
	Start    int64   `json:"start"`
	Stable   int64   `json:"stable"` // up to where read_committed reads
	End      int64   `json:"end"`
	Rate     float64 `json:"rate"`
}

type groupState struct {
	Name    string     `json:"name"`
	State   string     `json:"state"`
	Members int        `json:"members"`
	Lag     int64      `json:"lag"` // records up to the ends of all its topics
	Rate    float64    `json:"rate"`
	Topics  []topicLag `json:"topics"`
}

type topicLag struct {
	Topic     string  `json:"topic"`
	Lag       int64   `json:"lag"`
	Rate      float64 `json:"rate"` // offsets committed a second
	committed int64
}

func newCluster(admin *kadm.Client, now func() time.Time) *cluster {
	return &cluster{admin: admin, now: now, seen: clusterState{Open: -1}}
}

// state is the newest look.
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

// lookTimeout bounds a look at the broker.
const lookTimeout = 5 * time.Second

// look asks the broker for everything. Where an answer is missing, the page shows the older one and
// why.
func (c *cluster) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	before := c.state()
	next, err := c.ask(ctx, &before)
	if err != nil {
		next = before
		next.Err = err.Error()
		next.Open = -1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = next
}

func (c *cluster) ask(ctx context.Context, before *clusterState) (clusterState, error) {
	next := clusterState{At: c.now(), Open: -1}
	meta, err := c.admin.Metadata(ctx)
	if err != nil {
		return next, err
	}
	for _, b := range meta.Brokers {
		next.Brokers = append(next.Brokers, brokerState{b.NodeID, b.Host, b.NodeID == meta.Controller})
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
		next.Under += t.Under
		next.Offline += t.Offline
	}
	if next.Groups, err = c.groups(ctx, before, seconds); err != nil {
		return next, err
	}
	if open, err := c.admin.ListTransactions(ctx, nil, []string{"Ongoing"}); err == nil {
		next.Open = len(open)
	}
	return next, nil
}

func topicOf(t *kadm.TopicDetail, starts, stable, ends kadm.ListedOffsets, before *topicState, seconds float64) topicState {
	s := topicState{Name: t.Topic, Internal: t.IsInternal}
	for _, p := range t.Partitions.Sorted() {
		at := func(l kadm.ListedOffsets) int64 {
			if o, ok := l.Lookup(t.Topic, p.Partition); ok && o.Err == nil {
				return o.Offset
			}
			return 0
		}
		one := partitionState{ID: p.Partition, Leader: p.Leader, Replicas: p.Replicas, ISR: p.ISR, Start: at(starts), Stable: at(stable), End: at(ends)}
		if before != nil && int(p.Partition) < len(before.Partitions) {
			one.Rate = rate(one.End-before.Partitions[p.Partition].End, seconds)
		}
		s.Partitions = append(s.Partitions, one)
		s.Records += one.End - one.Start
		s.ends += one.End
		s.Replicas = max(s.Replicas, len(p.Replicas))
		if len(p.ISR) < len(p.Replicas) {
			s.Under++
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

func (c *cluster) groups(ctx context.Context, before *clusterState, seconds float64) ([]groupState, error) {
	listed, err := c.admin.ListGroups(ctx)
	if err != nil {
		return nil, err
	}
	names := listed.Groups()
	if len(names) == 0 {
		return nil, nil
	}
	lags, err := c.admin.Lag(ctx, names...)
	if err != nil {
		return nil, err
	}
	var all []groupState
	for _, l := range lags.Sorted() {
		g := groupState{Name: l.Group, State: l.State, Members: len(l.Members), Topics: []topicLag{}}
		for topic, partitions := range l.Lag {
			t := topicLag{Topic: topic}
			for _, p := range partitions {
				t.Lag += max(0, p.Lag)
				t.committed += max(0, p.Commit.At)
			}
			if old := before.group(g.Name).topic(topic); old != nil {
				t.Rate = smooth(old.Rate, rate(t.committed-old.committed, seconds))
			}
			g.Lag += t.Lag
			g.Rate += t.Rate
			g.Topics = append(g.Topics, t)
		}
		slices.SortFunc(g.Topics, func(a, b topicLag) int { return strings.Compare(a.Topic, b.Topic) })
		all = append(all, g)
	}
	return all, nil
}

func (s *clusterState) topic(name string) *topicState {
	i, ok := slices.BinarySearchFunc(s.Topics, name, func(t topicState, name string) int { return cmp.Compare(t.Name, name) })
	if !ok {
		return nil
	}
	return &s.Topics[i]
}

func (s *clusterState) group(name string) *groupState {
	for i := range s.Groups {
		if s.Groups[i].Name == name {
			return &s.Groups[i]
		}
	}
	return nil
}

func (g *groupState) topic(name string) *topicLag {
	if g == nil {
		return nil
	}
	for i := range g.Topics {
		if g.Topics[i].Topic == name {
			return &g.Topics[i]
		}
	}
	return nil
}

// rate is n a second; 0 where no time has passed, or where a topic was made anew.
func rate(n int64, seconds float64) float64 {
	if seconds <= 0 || n < 0 {
		return 0
	}
	return float64(n) / seconds
}

// smooth evens out a rate that comes in transactions.
func smooth(before, now float64) float64 {
	if before == 0 || now == 0 {
		return now
	}
	return 0.5*before + 0.5*now
}
