// Package monitor watches a Kafka cluster from a client's point of view: brokers, offline and
// under-replicated partitions, lag of consumer groups, transactions that block readers.
//
//	monitor.go  Monitor: snapshots of the cluster
//	groups.go   lag of consumer groups
//	metrics.go  Prometheus metrics of the last snapshot
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

// Snapshot is the state of a cluster at one moment. Lists are sorted and, unless stated otherwise,
// never null in JSON.
type Snapshot struct {
	At         time.Time `json:"at"`
	Brokers    []Broker  `json:"brokers"`
	Controller int32     `json:"controller"` // -1 if unknown

	Topics       []Topic              `json:"topics"`
	Groups       []Group              `json:"groups"`
	Transactions []broker.Transaction `json:"transactions"` // open ones, the oldest first; null if no coordinator could be queried

	// Gaps lists what could not be queried and why, such as groups whose broker is down. The rest
	// of the snapshot is valid.
	Gaps []string `json:"gaps"`
}

// Broker is a broker that is in the cluster, holds replicas, or was in the cluster within the last
// hour.
type Broker struct {
	ID   int32  `json:"id"`
	Addr string `json:"addr"` // empty if only replicas refer to it
	Up   bool   `json:"up"`   // it responds to requests
}

// Up returns the number of brokers that respond.
func (v *Snapshot) Up() (n int) {
	for _, b := range v.Brokers {
		if b.Up {
			n++
		}
	}
	return n
}

// Topic is the health of a topic's partitions.
type Topic struct {
	Name            string `json:"name"`
	Partitions      int    `json:"partitions"`
	UnderReplicated int    `json:"under_replicated"` // partitions with replicas that are not in sync
	Offline         int    `json:"offline"`          // partitions without a leader, or whose leader does not respond
}

// Group is a consumer group.
type Group struct {
	Name    string       `json:"name"`
	State   string       `json:"state"`
	Members int          `json:"members"`
	Topics  []GroupTopic `json:"topics"`
}

// GroupTopic is the lag of a group on a topic.
type GroupTopic struct {
	Topic string `json:"topic"`
	Lag   int64  `json:"lag"` // records up to the high watermark
	// Behind is the age of the oldest record that the group has not read, in seconds. The monitor
	// derives it from the end offsets of earlier snapshots, so it is at most as long as the monitor
	// has been running.
	Behind float64 `json:"lag_seconds"`
}

// Monitor takes snapshots of a cluster. It keeps end offsets and brokers from one snapshot to the
// next, to determine how long a group has lagged and which brokers are missing. It is safe for
// concurrent use.
type Monitor struct {
	client *kgo.Client
	now    func() time.Time

	mu      sync.Mutex
	ends    map[partition][]end // oldest first
	known   map[int32]seen      // brokers
	last    Snapshot
	err     error // of the last snapshot
	checked bool  // a snapshot has been attempted
	took    time.Duration
}

// seen is a broker's address, and when it was last in the cluster.
type seen struct {
	at   time.Time
	addr string
}

type partition struct {
	topic string
	id    int32
}

// end is the end offset of a partition at a time.
type end struct {
	at     time.Time
	offset int64
}

const (
	remember = time.Hour // how long missing brokers and end offsets are kept
	maxEnds  = 720
)

// New returns a monitor that uses a client. The caller closes the client.
func New(client *kgo.Client) *Monitor {
	return &Monitor{client: client, now: time.Now, ends: make(map[partition][]end), known: make(map[int32]seen)}
}

// Run takes a snapshot every interval until ctx is done. It logs when the cluster, or a part of it,
// can no longer be queried, and when it can be queried again.
func (m *Monitor) Run(ctx context.Context, interval time.Duration, log *slog.Logger) {
	before := ""
	for {
		v, err := m.Snapshot(ctx)
		if ctx.Err() != nil {
			return
		}
		now := "complete"
		switch {
		case err != nil:
			now = "failed"
		case len(v.Gaps) > 0:
			now = "partial"
		}
		switch {
		case now == before:
		case now == "failed":
			log.Warn("the cluster cannot be queried", "err", err)
		case now == "partial":
			log.Warn("a part of the cluster cannot be queried", "gaps", strings.Join(v.Gaps, "; "))
		case before != "":
			log.Info("the cluster can be queried again")
		}
		before = now
		if retry.Sleep(ctx, interval) != nil {
			return
		}
	}
}

// stepTimeout bounds each of the two steps of a snapshot, so that a cluster that does not answer is
// reported soon.
const stepTimeout = 5 * time.Second

// Snapshot queries the cluster. It fails only if no broker answers; anything else that cannot be
// queried is a gap in the snapshot.
func (m *Monitor) Snapshot(ctx context.Context) (Snapshot, error) {
	began := m.now()
	v, err := m.snapshot(ctx, began)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checked, m.err, m.took = true, err, m.now().Sub(began)
	if err == nil {
		m.last = v
	}
	return v, err
}

func (m *Monitor) snapshot(ctx context.Context, now time.Time) (Snapshot, error) {
	admin := kadm.NewClient(m.client)
	first, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	meta, err := admin.Metadata(first)
	if err != nil {
		return Snapshot{}, fmt.Errorf("list brokers and topics: %w", err)
	}
	ctx, cancel = context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var (
		up         kadm.BrokersApiVersions
		groups     []Group
		groupsGaps []string
		open       broker.OpenTransactions
		upErr      error
		openErr    error
		all        sync.WaitGroup
	)
	all.Go(func() { up, upErr = admin.ApiVersions(ctx) })
	all.Go(func() { groups, groupsGaps = m.groups(ctx, admin, now) })
	all.Go(func() { open, openErr = broker.ListTransactions(ctx, m.client, now) })
	all.Wait()

	v := Snapshot{At: now, Controller: meta.Controller, Topics: []Topic{}, Groups: groups, Transactions: append([]broker.Transaction{}, open.Open...), Gaps: groupsGaps}
	if openErr != nil {
		v.Transactions, v.Gaps = nil, append(v.Gaps, "transactions: "+explain(openErr))
	}
	for _, u := range open.Unchecked {
		v.Gaps = append(v.Gaps, "transactions of "+u.Topic+": "+u.Reason)
	}
	v.Brokers = m.brokers(&meta, up, now)
	if v.Up() == 0 { // the metadata came from a cache
		for _, b := range up.Sorted() {
			upErr = cmp.Or(upErr, b.Err)
		}
		return Snapshot{}, fmt.Errorf("no broker answers: %w", upErr)
	}
	for _, t := range meta.Topics.Sorted() {
		v.Topics = append(v.Topics, topic(t, v.Brokers))
	}
	return v, nil
}

// brokers returns the brokers of the cluster, those that hold replicas, and those that were in the
// cluster within the last hour.
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

// explain names the brokers that did not respond, each with its error.
func explain(err error) string {
	var shards *kadm.ShardErrors
	if !errors.As(err, &shards) {
		return err.Error()
	}
	var all []string
	for _, s := range shards.Errs {
		text := fmt.Sprintf("broker %d: %v", s.Broker.NodeID, s.Err)
		if s.Broker.NodeID < 0 { // not a request to a particular broker
			text = s.Err.Error()
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, ", ")
}
