// Package monitor watches a Kafka cluster as its clients see it: brokers, partitions without leader or replicas, how far groups are
// behind, transactions that block readers.
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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/broker"
)

// View is a cluster at one moment. Lists are sorted, and never null in JSON.
type View struct {
	At         time.Time `json:"at"`
	Brokers    []Broker  `json:"brokers"` // that answer
	Known      int       `json:"brokers_known"`
	Controller int32     `json:"controller"` // -1 where the cluster does not say

	Topics       []Topic              `json:"topics"`
	Groups       []Group              `json:"groups"`
	Transactions []broker.Transaction `json:"transactions"` // open ones, the oldest first
}

// Broker is one node.
type Broker struct {
	ID   int32  `json:"id"`
	Addr string `json:"addr"`
}

// Topic is what is wrong with the partitions of a topic, if anything.
type Topic struct {
	Name            string `json:"name"`
	Partitions      int    `json:"partitions"`
	UnderReplicated int    `json:"under_replicated"` // partitions with replicas that are not in sync
	Offline         int    `json:"offline"`          // partitions without a leader
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
	// Behind is for how long the oldest record that the group has not read has been there, as far back as the monitor has watched:
	// after its start it begins at 0.
	Behind float64 `json:"lag_seconds"`
}

// Monitor remembers from one look to the next what tells how long something has been so. It is safe for use by several goroutines.
type Monitor struct {
	client *kgo.Client
	now    func() time.Time

	mu     sync.Mutex
	ends   map[partition][]end // oldest first
	known  map[int32]time.Time // brokers, and when they were last seen
	last   View
	err    error // of the last look
	looked bool
	took   time.Duration
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
	return &Monitor{client: client, now: time.Now, ends: make(map[partition][]end), known: make(map[int32]time.Time)}
}

// Run looks every so often until ctx is done. What a look can't find out is logged once, until one succeeds again.
func (m *Monitor) Run(ctx context.Context, every time.Duration, log *slog.Logger) {
	failed := false
	for {
		_, err := m.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failed:
			log.Warn("the cluster can't be looked at", "err", err)
		case err == nil && failed:
			log.Info("the cluster can be looked at again")
		}
		failed = err != nil
		if broker.Sleep(ctx, every) != nil {
			return
		}
	}
}

// lookTimeout bounds a look: a cluster that does not answer is told soon.
const lookTimeout = 10 * time.Second

// Look asks the cluster.
func (m *Monitor) Look(ctx context.Context) (View, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
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
	meta, err := admin.Metadata(ctx)
	if err != nil {
		return View{}, fmt.Errorf("ask for brokers and topics: %w", err)
	}
	v := View{At: now, Controller: meta.Controller, Brokers: []Broker{}, Topics: []Topic{}, Groups: []Group{}, Transactions: []broker.Transaction{}}
	v.Known = m.see(meta.Brokers, now)
	for _, b := range meta.Brokers {
		v.Brokers = append(v.Brokers, Broker{b.NodeID, fmt.Sprintf("%s:%d", b.Host, b.Port)})
	}
	for _, t := range meta.Topics.Sorted() {
		v.Topics = append(v.Topics, topic(t))
	}
	if v.Groups, err = m.groups(ctx, admin, now); err != nil {
		return View{}, err
	}
	open, err := broker.ListTransactions(ctx, m.client, now)
	if err != nil {
		return View{}, err
	}
	v.Transactions = append(v.Transactions, open...)
	return v, nil
}

// see notes the brokers that are there and returns how many are known.
func (m *Monitor) see(brokers kadm.BrokerDetails, now time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range brokers {
		m.known[b.NodeID] = now
	}
	for id, at := range m.known {
		if now.Sub(at) > remember {
			delete(m.known, id)
		}
	}
	return len(m.known)
}

func topic(t kadm.TopicDetail) Topic {
	all := Topic{Name: t.Topic, Partitions: len(t.Partitions)}
	for _, p := range t.Partitions {
		if p.Leader < 0 {
			all.Offline++
		}
		if len(p.ISR) < len(p.Replicas) {
			all.UnderReplicated++
		}
	}
	return all
}

func (m *Monitor) groups(ctx context.Context, admin *kadm.Client, now time.Time) ([]Group, error) {
	listed, err := admin.ListGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	all := []Group{}
	if len(listed) == 0 {
		return all, nil
	}
	lags, err := admin.Lag(ctx, listed.Groups()...)
	if err != nil {
		return nil, fmt.Errorf("ask how far groups are behind: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range lags.Sorted() {
		if err := errors.Join(l.DescribeErr, l.FetchErr); err != nil {
			return nil, fmt.Errorf("ask how far group %s is behind: %w", l.Group, err)
		}
		all = append(all, m.group(&l, now))
	}
	return all, nil
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

// behind notes where a partition ends now, and returns for how long it has had records beyond an offset.
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
