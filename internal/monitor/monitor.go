// Package monitor watches a Kafka cluster as its clients see it: brokers, partitions without leader
// or replicas, how far groups are behind, transactions that block readers.
//
//	monitor.go  Look: the cluster at one moment
//	metrics.go  the same for Prometheus
package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// View is a cluster at one moment. Lists are sorted, and never null in JSON.
type View struct {
	At         time.Time `json:"at"`
	Brokers    []Broker  `json:"brokers"`
	Controller int32     `json:"controller"` // -1 where the cluster does not say

	Topics       []Topic              `json:"topics"`
	Groups       []Group              `json:"groups"`
	Transactions []broker.Transaction `json:"transactions"` // open ones, the oldest first; null where nobody could be asked

	// Gaps are what could not be asked, and why, such as groups whose broker is gone. The rest
	// holds all the same.
	Gaps []string `json:"gaps"`
}

// Broker is one that is in the cluster, has replicas, or was there within the last hour.
type Broker struct {
	ID   int32  `json:"id"`
	Addr string `json:"addr"` // empty for one that only replicas tell of
	Up   bool   `json:"up"`   // it answers
}

// Up is how many brokers answer.
func (v *View) Up() (n int) {
	for _, b := range v.Brokers {
		if b.Up {
			n++
		}
	}
	return n
}

// Topic is what is wrong with the partitions of a topic, if anything.
type Topic struct {
	Name            string `json:"name"`
	Partitions      int    `json:"partitions"`
	UnderReplicated int    `json:"under_replicated"` // partitions with replicas that are not in sync
	Offline         int    `json:"offline"`          // partitions without a leader that answers
}

// Group is a consumer group.
type Group struct {
	Name    string       `json:"name"`
	State   string       `json:"state"`
	Members int          `json:"members"`
	Topics  []GroupTopic `json:"topics"`
}

// GroupTopic is how far a group is behind on a topic.
type GroupTopic struct {
	Topic string `json:"topic"`
	Lag   int64  `json:"lag"` // records up to the high watermark
	// Behind is for how long the oldest record that the group has not read has been there, as far
	// back as the monitor has watched: after its start it begins at 0.
	Behind float64 `json:"lag_seconds"`
}

// Monitor remembers from one look to the next what tells how long something has been so. It is safe
// for use by several goroutines.
type Monitor struct {
	client *kgo.Client
	now    func() time.Time

	mu     sync.Mutex
	ends   map[partition][]end // oldest first
	known  map[int32]seen      // brokers
	last   View
	err    error // of the last look
	looked bool
	took   time.Duration
}

// seen is when a broker was in the cluster last, and where.
type seen struct {
	at   time.Time
	addr string
}

type partition struct {
	topic string
	id    int32
}

// end is where a partition ended at a time.
type end struct {
	at     time.Time
	offset int64
}

const (
	remember = time.Hour // how long a broker that is gone counts as known, and ends are kept
	maxEnds  = 720
)

// New makes a monitor over a client, which stays the caller's.
func New(client *kgo.Client) *Monitor {
	return &Monitor{client: client, now: time.Now, ends: make(map[partition][]end), known: make(map[int32]seen)}
}

// Run looks every so often until ctx is done. What a look can't find out is logged when it begins,
// and that it is over.
func (m *Monitor) Run(ctx context.Context, every time.Duration, log *slog.Logger) {
	was := ""
	for {
		v, err := m.Look(ctx)
		if ctx.Err() != nil {
			return
		}
		is := "all"
		switch {
		case err != nil:
			is = "nothing"
		case len(v.Gaps) > 0:
			is = "a part"
		}
		switch {
		case is == was:
		case is == "nothing":
			log.Warn("the cluster can't be looked at", "err", err)
		case is == "a part":
			log.Warn("a part of the cluster can't be looked at", "gaps", strings.Join(v.Gaps, "; "))
		case was != "":
			log.Info("the cluster can be looked at again")
		}
		was = is
		if retry.Sleep(ctx, every) != nil {
			return
		}
	}
}

// stepTimeout bounds each of the two steps of a look: a cluster that does not answer is told soon.
const stepTimeout = 5 * time.Second

// Look asks the cluster. It fails only where no broker answers: what some can't tell is a gap.
func (m *Monitor) Look(ctx context.Context) (View, error) {
	began := m.now()
	v, err := m.look(ctx, began)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looked, m.err, m.took = true, err, m.now().Sub(began)
	if err == nil {
		m.last = v
	}
	return v, err
}

func (m *Monitor) look(ctx context.Context, now time.Time) (View, error) {
	admin := kadm.NewClient(m.client)
	first, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	meta, err := admin.Metadata(first)
	if err != nil {
		return View{}, fmt.Errorf("ask for brokers and topics: %w", err)
	}
	ctx, cancel = context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var (
		up         kadm.BrokersApiVersions
		groups     []Group
		groupsGaps []string
		open       []broker.Transaction
		upErr      error
		openErr    error
		all        sync.WaitGroup
	)
	all.Go(func() { up, upErr = admin.ApiVersions(ctx) })
	all.Go(func() { groups, groupsGaps = m.groups(ctx, admin, now) })
	all.Go(func() { open, openErr = broker.ListTransactions(ctx, m.client, now) })
	all.Wait()

	v := View{At: now, Controller: meta.Controller, Topics: []Topic{}, Groups: groups, Transactions: append([]broker.Transaction{}, open...), Gaps: groupsGaps}
	if openErr != nil {
		v.Transactions, v.Gaps = nil, append(v.Gaps, "transactions: "+explain(openErr))
	}
	v.Brokers = m.brokers(&meta, up, now)
	if v.Up() == 0 { // what is known of brokers and topics is from before
		for _, b := range up.Sorted() {
			upErr = cmp.Or(upErr, b.Err)
		}
		return View{}, fmt.Errorf("no broker answers: %w", upErr)
	}
	for _, t := range meta.Topics.Sorted() {
		v.Topics = append(v.Topics, topic(t, v.Brokers))
	}
	return v, nil
}

// brokers are those of the cluster, those that replicas tell of, and those that were there not long
// ago.
func (m *Monitor) brokers(meta *kadm.Metadata, up kadm.BrokersApiVersions, now time.Time) []Broker {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[int32]Broker)
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			for _, id := range p.Replicas {
				all[id] = Broker{ID: id, Addr: m.known[id].addr}
			}
		}
	}
	for _, b := range meta.Brokers {
		m.known[b.NodeID] = seen{now, fmt.Sprintf("%s:%d", b.Host, b.Port)}
	}
	for id, s := range m.known {
		if now.Sub(s.at) > remember {
			delete(m.known, id)
			continue
		}
		answer, asked := up[id]
		all[id] = Broker{ID: id, Addr: s.addr, Up: asked && answer.Err == nil}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Broker) int { return cmp.Compare(a.ID, b.ID) })
}

func topic(t kadm.TopicDetail, brokers []Broker) Topic {
	all := Topic{Name: t.Topic, Partitions: len(t.Partitions)}
	for _, p := range t.Partitions {
		if !slices.ContainsFunc(brokers, func(b Broker) bool { return b.ID == p.Leader && b.Up }) {
			all.Offline++
		}
		if len(p.ISR) < len(p.Replicas) {
			all.UnderReplicated++
		}
	}
	return all
}

func (m *Monitor) groups(ctx context.Context, admin *kadm.Client, now time.Time) (all []Group, gaps []string) {
	all, gaps = []Group{}, []string{}
	listed, err := admin.ListGroups(ctx)
	if err != nil {
		gaps = append(gaps, "groups: "+explain(err))
	}
	if len(listed) == 0 {
		return all, gaps
	}
	lags, err := admin.Lag(ctx, listed.Groups()...)
	if err != nil {
		return all, append(gaps, "how far groups are behind: "+explain(err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range lags.Sorted() {
		if err := cmp.Or(l.DescribeErr, l.FetchErr); err != nil {
			gaps = append(gaps, fmt.Sprintf("group %s: %s", l.Group, explain(err)))
			continue
		}
		all = append(all, m.group(&l, now))
	}
	return all, gaps
}

// explain says which brokers did not answer, and why.
func explain(err error) string {
	var shards *kadm.ShardErrors
	if !errors.As(err, &shards) {
		return err.Error()
	}
	var all []string
	for _, s := range shards.Errs {
		text := fmt.Sprintf("broker %d: %v", s.Broker.NodeID, s.Err)
		if s.Broker.NodeID < 0 { // no broker could be told that it is for
			text = s.Err.Error()
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, ", ")
}

func (m *Monitor) group(l *kadm.DescribedGroupLag, now time.Time) Group {
	g := Group{Name: l.Group, State: l.State, Members: len(l.Members), Topics: []GroupTopic{}}
	byTopic := make(map[string]*GroupTopic)
	for _, p := range l.Lag.Sorted() {
		if p.Err != nil || p.Lag < 0 {
			continue // a partition that the group has not committed yet, or that is gone
		}
		t := byTopic[p.Topic]
		if t == nil {
			t = &GroupTopic{Topic: p.Topic}
			byTopic[p.Topic] = t
		}
		t.Lag += p.Lag
		t.Behind = max(t.Behind, m.behind(partition{p.Topic, p.Partition}, p.End.Offset-p.Lag, p.End.Offset, now).Seconds())
	}
	for _, t := range byTopic {
		g.Topics = append(g.Topics, *t)
	}
	slices.SortFunc(g.Topics, func(a, b GroupTopic) int { return strings.Compare(a.Topic, b.Topic) })
	return g
}

// behind notes where a partition ends now, and returns for how long it has had records beyond an
// offset.
func (m *Monitor) behind(p partition, read, offset int64, now time.Time) time.Duration {
	ends := m.ends[p]
	if n := len(ends); n == 0 || ends[n-1].at.Before(now) {
		ends = append(ends, end{now, offset})
	}
	for len(ends) > maxEnds || now.Sub(ends[0].at) > remember {
		ends = ends[1:]
	}
	m.ends[p] = ends
	if read >= offset {
		return 0
	}
	i, _ := slices.BinarySearchFunc(ends, read+1, func(e end, at int64) int { return cmp.Compare(e.offset, at) })
	if i == len(ends) {
		return 0 // it has grown since the first group of this look was asked
	}
	return now.Sub(ends[i].at)
}
