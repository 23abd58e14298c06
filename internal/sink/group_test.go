package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
)

// mailbox is a target without offsets. It gets requests of several rows of one partition, and keeps
// them all.
type mailbox struct {
	mu       sync.Mutex
	random   *rand.Rand
	fails    int                // one in so many requests fails, before or after it has arrived; 0 is none
	rows     map[int64]int      // how often each value has arrived
	requests map[string][]int64 // the last with each key: partition, first and last offset
	changed  []string           // keys that came back with other rows
	bad      int64
	into     string
	before   func(request int) // called before each request
	after    func(request int) // called after it has arrived
	n        int
}

func newMailbox(seed uint64) *mailbox {
	return &mailbox{random: rand.New(rand.NewPCG(seed, 0)), rows: make(map[int64]int), requests: make(map[string][]int64)}
}

func (m *mailbox) Into() string                          { return m.into }
func (m *mailbox) Open(context.Context) (Sending, error) { return m, nil }
func (m *mailbox) Close()                                {}

// Send sends up to seven rows of a partition in each request.
func (m *mailbox) Send(ctx context.Context, b *Batch, p *Progress) error {
	const most = 7
	for row := 0; row < b.Rows.N; {
		first := b.Origins[row]
		end := row
		for end < b.Rows.N && end-row < most && b.Origins[end].Partition == first.Partition && (b.Repeat[first.Partition] == 0 || b.Origins[end].Offset < b.Repeat[first.Partition] || first.Offset >= b.Repeat[first.Partition]) {
			end++
		}
		last := b.Origins[end-1]
		if err := p.Sending(ctx, first.Partition, last.Offset+1); err != nil {
			return err
		}
		var values []int64
		for i := row; i < end; i++ {
			if v := b.Rows.Cols[0].I[i]; v == m.bad && v != 0 {
				p.Refuse(Refusal{b.Origins[i], errInjected})
			} else {
				values = append(values, v)
			}
		}
		if err := m.request(fmt.Sprintf("%d-%d-%d", first.Partition, first.Offset, last.Offset), values); err != nil {
			return err
		}
		p.Acknowledged(first.Partition, last.Offset+1)
		row = end
	}
	return nil
}

func (m *mailbox) request(key string, values []int64) error {
	m.mu.Lock()
	m.n++
	n := m.n
	fails := m.fails > 0 && m.random.IntN(m.fails) == 0
	arrives := !fails || m.random.IntN(2) == 0
	m.mu.Unlock()
	if m.before != nil {
		m.before(n)
	}
	if arrives {
		m.mu.Lock()
		for _, v := range values {
			m.rows[v]++
		}
		if was, again := m.requests[key]; again && !cmp.Equal(was, values) {
			m.changed = append(m.changed, key)
		}
		m.requests[key] = values
		m.mu.Unlock()
	}
	if m.after != nil {
		m.after(n)
	}
	if fails {
		return errInjected
	}
	return nil
}

// repeated returns how often rows have arrived more than once, and which have not.
func (m *mailbox) repeated(n int) (again int, missing []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for v := int64(1); v <= int64(n); v++ {
		if m.rows[v] == 0 {
			missing = append(missing, v)
		}
		again += max(0, m.rows[v]-1)
	}
	return again, missing
}

func runMailbox(t *testing.T, m *mailbox, at broker.Config, processes int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := programOf(t)
	var running sync.WaitGroup
	sinks, stop := context.WithCancel(ctx)
	var first Config
	for range processes {
		table := p.Deliveries()[0]
		c := Config{Broker: at, Pipeline: "p", Table: table, DeadLetters: "p.dlq", Target: AtLeastOnce(at, "p", table, m), MaxRows: 40, SessionTimeout: 2 * time.Second, Status: NewStatus("p", table)}
		if first.Table == nil {
			first = c
		}
		running.Go(func() { Run(sinks, c) })
	}
	err := AwaitDelivered(ctx, first)
	now := first.Status.Snapshot()
	stop()
	running.Wait()
	if err != nil {
		t.Fatalf("%v: %+v", err, now)
	}
}

// Every row arrives, those of an unacknowledged request again, in a request of the same rows.
func TestAtLeastOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const n = 400
	at, _ := world(t, n)
	m := newMailbox(seed)
	m.fails, m.bad = 6, 42
	runMailbox(t, m, at, 2)
	again, missing := m.repeated(n)
	if len(missing) != 1 || missing[0] != 42 {
		t.Errorf("missing: %v", missing)
	}
	if again == 0 || again > 7*m.n/2 {
		t.Errorf("%d rows came again", again)
	}
	if len(m.changed) > 0 {
		t.Errorf("requests with the same key had other rows: %v", m.changed)
	}
	for key := range m.requests { // no two requests have a row in common, unless they are equal
		for other := range m.requests {
			var p, a, b, q, c, d int64
			if _, err := fmt.Sscanf(key+" "+other, "%d-%d-%d %d-%d-%d", &p, &a, &b, &q, &c, &d); err != nil {
				t.Fatal(err)
			}
			if key != other && p == q && a <= d && c <= b {
				t.Errorf("the rows of request %s came again in %s", key, other)
			}
		}
	}
	letters := 0
	if err := broker.ReadAll(t.Context(), at, "p.dlq", nil, func(*kgo.Record) error { letters++; return nil }); err != nil {
		t.Fatal(err)
	}
	if letters == 0 {
		t.Error("no dead letter")
	}
}

// A process that lost its partitions while it was suspended sends nothing more, and does not move
// offsets.
func TestSuspendedSender(t *testing.T) {
	const n = 60
	at, _ := world(t, n)
	p := programOf(t)
	table := p.Deliveries()[0]
	suspended, resume := make(chan struct{}), make(chan struct{})
	first := newMailbox(0)
	var once sync.Once
	first.after = func(int) {
		once.Do(func() {
			close(suspended)
			<-resume
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stopping, stop := context.WithCancel(ctx)
	target := AtLeastOnce(at, "p", table, first)
	var running sync.WaitGroup
	running.Go(func() {
		Run(stopping, Config{Broker: at, Pipeline: "p", Table: table, DeadLetters: "p.dlq", Target: target, MaxRows: 100, SessionTimeout: 2 * time.Second, Status: NewStatus("p", table)})
	})
	<-suspended
	client, err := broker.Connect(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	// What the coordinator does with a member that has not sent heartbeats.
	groups, err := admin.DescribeGroups(ctx, Group("p", "t"))
	if err != nil {
		t.Fatal(err)
	}
	var members []string
	for _, member := range groups[Group("p", "t")].Members {
		members = append(members, member.MemberID)
	}
	evict(t, client, members)
	second := newMailbox(0)
	runMailbox(t, second, at, 1)
	_, missing := second.repeated(n)
	sentBefore := first.n
	stop()
	close(resume)
	running.Wait()
	if first.n != sentBefore {
		t.Errorf("the suspended process has sent %d requests more", first.n-sentBefore)
	}
	if len(missing) > 0 {
		t.Errorf("the second process has not sent %v", missing)
	}
	positions, err := target.Positions(t.Context(), Topic{ID: topicID(t, admin)})
	if err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListCommittedOffsets(t.Context(), "p.t.out")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) { want[o.Partition] = o.Offset })
	maps.DeleteFunc(want, func(_ int32, end int64) bool { return end == 0 })
	if diff := cmp.Diff(want, positions); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Offsets of another topic, or of rows that are elsewhere, are refused; those that somebody has set
// are not.
func TestWrongGroupOffsets(t *testing.T) {
	at, p := world(t, 8)
	table := p.Deliveries()[0]
	m := newMailbox(0)
	m.into = "bucket a"
	runMailbox(t, m, at, 1)
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	claim := func(from Topic, into string) (map[int32]int64, error) {
		other := newMailbox(0)
		other.into = into
		s, err := AtLeastOnce(at, "p", table, other).Open(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Claim(t.Context(), []int32{0, 1, 2, 3})
	}
	id := topicID(t, admin)
	for _, c := range []struct{ id, into, want string }{
		{id, "bucket b", "so far to bucket a, and would continue in bucket b"}, {"another", "bucket a", "the topic was deleted"},
	} {
		if _, err := claim(Topic{Name: "p.t.out", ID: c.id}, c.into); !errors.As(err, new(*RefusedError)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	var set kadm.Offsets
	set.AddOffset("p.t.out", 1, 1, -1)
	if _, err := admin.CommitOffsets(t.Context(), Group("p", "t"), set); err != nil {
		t.Fatal(err)
	}
	if next, err := claim(Topic{Name: "p.t.out", ID: id}, "bucket a"); err != nil || next[1] != 1 {
		t.Errorf("%v, %v", next, err)
	}
}

// If Kafka has removed the offsets of a group, what was delivered is not known: that is refused,
// until somebody sets offsets. Partitions of which nothing was delivered are not refused.
func TestExpiredGroupOffsets(t *testing.T) {
	at, p := world(t, 2) // partitions 1 and 2
	table := p.Deliveries()[0]
	runMailbox(t, newMailbox(0), at, 1)
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	deleted, err := admin.DeleteGroups(t.Context(), Group("p", "t"))
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	again := newMailbox(0)
	claim := func(partitions ...int32) (map[int32]int64, error) {
		s, err := AtLeastOnce(at, "p", table, again).Open(t.Context(), Topic{Name: "p.t.out", ID: topicID(t, admin)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Claim(t.Context(), partitions)
	}
	if _, err := claim(0, 1, 2, 3); !errors.As(err, new(*RefusedError)) || !strings.Contains(err.Error(), "has delivered rows of the partitions [1 2] of topic p.t.out") || !strings.Contains(err.Error(), "--reset-offsets --group weir.sink.p.t --topic p.t.out") {
		t.Error(err)
	}
	if next, err := claim(0, 3); err != nil || next[0] != 0 {
		t.Error(next, err)
	}
	var set kadm.Offsets
	set.AddOffset("p.t.out", 1, 2, -1)
	set.AddOffset("p.t.out", 2, 0, -1)
	if _, err := admin.CommitOffsets(t.Context(), Group("p", "t"), set); err != nil {
		t.Fatal(err)
	}
	if next, err := claim(0, 1, 2, 3); err != nil || next[1] != 2 || next[2] != 0 {
		t.Error(next, err)
	}
	runMailbox(t, again, at, 1)
	if again.rows[1] != 0 || again.rows[2] != 1 {
		t.Error(again.rows)
	}
}

func topicID(t *testing.T, admin *kadm.Client) string {
	t.Helper()
	topics, err := admin.ListTopics(t.Context(), "p.t.out")
	if err != nil {
		t.Fatal(err)
	}
	return topics["p.t.out"].ID.String()
}

// evict makes members leave the group.
func evict(t *testing.T, client *kgo.Client, members []string) {
	t.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = Group("p", "t")
	for _, id := range members {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = id
		req.Members = append(req.Members, m)
	}
	if _, err := req.RequestWith(t.Context(), client); err != nil {
		t.Fatal(err)
	}
}

// FuzzNote reads the metadata of a group's offset: it is a note of a sink, or somebody else has set
// the offset.
func FuzzNote(f *testing.F) {
	for _, metadata := range []string{`{"topic":"AAAAAAAAAAAAAAAAAAAAAQ"}`, `{"topic":"t","into":"i","until":9}`, ``, `null`, `{}`, `7`, `"by hand"`, `{"topic":""}`, `{"topic":"t","until":-1}`, `{"until":5}`} {
		f.Add(metadata)
	}
	f.Fuzz(func(t *testing.T, metadata string) {
		n, ok := decodeNote(metadata)
		if !ok {
			if n != (note{}) {
				t.Fatalf("%q is no note, and gives %+v", metadata, n)
			}
			return
		}
		if n.Topic == "" || n.Until < 0 {
			t.Fatalf("%q is taken for %+v", metadata, n)
		}
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		if again, ok := decodeNote(string(text)); !ok || again != n {
			t.Fatalf("%+v is read as %+v", n, again)
		}
	})
}
