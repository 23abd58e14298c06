package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/longtest"
)

// network is a client's dialer, whose connections can be cut.
type network struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, net.ErrClosed
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	n.conns = append(n.conns, conn)
	return conn, err
}

// cut permanently closes all connections, like a killed process.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for _, conn := range n.conns {
		_ = conn.Close()
	}
}

// readers is a group whose members consume a topic.
type readers struct {
	*testing.T
	broker *Broker
	ctx    context.Context // of the members
}

const (
	readersGroup, readersTopic = "readers", "events"
	readersSession             = 2 * time.Second
	readersRebalance           = 10 * time.Second
)

func newReaders(t *testing.T) *readers {
	t.Helper()
	b := open(t, Config{Dir: t.TempDir()})
	c := client(t, b)
	createTopic(t, c, readersTopic, nil)
	if _, err := kadm.NewClient(c).AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Name: "group.min.session.timeout.ms", Value: kadm.StringPtr("10")}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(func() {
		stop()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return &readers{T: t, broker: b, ctx: ctx}
}

// join adds a member.
func (r *readers) join(name string, opts ...kgo.Opt) *network {
	r.Helper()
	n := &network{}
	c := client(r.T, r.broker, append([]kgo.Opt{kgo.WithContext(r.ctx), kgo.Dialer(n.dial), kgo.ClientID(name), kgo.ConsumerGroup(readersGroup),
		kgo.ConsumeTopics(readersTopic), kgo.Balancers(kgo.RangeBalancer()), kgo.SessionTimeout(readersSession),
		kgo.HeartbeatInterval(readersSession / 5), kgo.RebalanceTimeout(readersRebalance)}, opts...)...)
	go func() {
		for r.ctx.Err() == nil && !c.PollFetches(r.ctx).IsClientClosed() {
		}
	}()
	return n
}

// await waits until the group has that state and number of members.
func (r *readers) await(state string, members int) *kfake.GroupInfo {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, 2*(readersSession+readersRebalance))
	defer cancel()
	g, err := r.broker.cluster.WaitGroupInfo(ctx, readersGroup, func(g *kfake.GroupInfo) bool {
		return g != nil && g.State == state && len(g.Members) == members
	})
	if err != nil {
		r.Fatalf("the group is not %s with %d members: %v: %+v", state, members, err, g)
	}
	return g
}

// Members that are killed while they join a group are expelled after their session timeout, and the
// others get all partitions. Several are killed, since kfake forgets each with a probability of one
// half.
func TestMembersKilledWhileTheyJoin(t *testing.T) {
	const killed = 6
	r := newReaders(t)
	r.join("first")
	r.await("Stable", 1)
	r.join("second")
	r.await("Stable", 2)
	var networks []*network
	for i := range killed {
		networks = append(networks, r.join(fmt.Sprint("killed", i)))
	}
	r.await("PreparingRebalance", 2+killed) // they have sent JoinGroup, and wait for the others
	for _, n := range networks {
		n.cut()
	}
	g := r.await("Stable", 2)
	var owned []int32
	for _, m := range g.Members {
		owned = append(owned, m.Assignment[readersTopic]...)
	}
	if len(owned) != killPartitions {
		t.Errorf("the remaining members have partitions %v, expected all %d", owned, killPartitions)
	}
}

// A member is not expelled while it waits for another one that takes longer than a session timeout
// to revoke its partitions.
func TestMemberWaitsLongerThanItsSession(t *testing.T) {
	r := newReaders(t)
	r.join("first")
	r.await("Stable", 1)
	r.join("slow", kgo.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) {
		select {
		case <-time.After(3 * readersSession):
		case <-r.ctx.Done():
		}
	}))
	before := names(r.await("Stable", 2))
	r.join("third")
	r.await("PreparingRebalance", 3)
	after := names(r.await("Stable", 3))
	for name := range before {
		if !after[name] {
			t.Errorf("%s was expelled: the members were %v, and are %v", name, before, after)
		}
	}
}

// A leader is killed after its JoinGroup response, before it assigns partitions. The waiting
// members are not expelled, and get all partitions after the dead leader's session timeout, not
// only when the rebalance times out.
func TestLeaderKilledBeforeItsSync(t *testing.T) {
	r := newReaders(t)
	var balances atomic.Int32
	killed := make(chan struct{})
	join := func(name string) {
		var own atomic.Pointer[network]
		own.Store(r.join(name, kgo.Balancers(balancer{kgo.RangeBalancer(), func(members int) {
			if members == 3 && balances.Add(1) == 1 {
				own.Load().cut()
				close(killed)
			}
		}})))
	}
	join("first")
	r.await("Stable", 1)
	join("second")
	before := names(r.await("Stable", 2))
	join("third")
	select {
	case <-killed:
	case <-r.ctx.Done():
		t.Fatal("the leader has not assigned partitions")
	}
	ctx, cancel := context.WithTimeout(r.ctx, readersRebalance-readersSession)
	defer cancel()
	g, err := r.broker.cluster.WaitGroupInfo(ctx, readersGroup, func(g *kfake.GroupInfo) bool {
		return g != nil && g.State == "Stable" && len(g.Members) == 2
	})
	if err != nil {
		t.Fatalf("the remaining members did not get all partitions: %v: %+v", err, g)
	}
	owned, lived := 0, false
	for _, m := range g.Members {
		owned += len(m.Assignment[readersTopic])
		lived = lived || before[m.MemberID]
	}
	if owned != killPartitions || !lived {
		t.Errorf("the members that live have %d partitions of %d; it is %t that the second one was not expelled", owned, killPartitions, lived)
	}
}

// Members are killed at random moments, some or all at once, and replaced. The others and the new
// ones have all partitions after a few session timeouts, not only when a rebalance times out.
func TestMembersKilledAtRandom(t *testing.T) {
	t.Parallel()
	const living, session = 3, 500 * time.Millisecond
	rounds, seed := longtest.Size(3, 8, 300), rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newReaders(t)
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	member := func() *network {
		return r.join("member", kgo.SessionTimeout(session), kgo.HeartbeatInterval(session/5), kgo.RebalanceTimeout(time.Minute))
	}
	pause := func() { time.Sleep(time.Duration(random.Int64N(int64(session)))) }
	var networks []*network
	for range living {
		networks = append(networks, member())
	}
	for round := range rounds {
		for range 1 + random.IntN(3) {
			if random.IntN(2) == 0 {
				pause()
			}
			for n, killed := range random.Perm(living)[:1+random.IntN(living)] {
				if n > 0 && random.IntN(3) == 0 {
					pause()
				}
				networks[killed].cut()
				networks[killed] = member()
			}
		}
		ctx, done := context.WithTimeout(r.ctx, 12*session)
		g, err := r.broker.cluster.WaitGroupInfo(ctx, readersGroup, func(g *kfake.GroupInfo) bool {
			owned := 0
			if g == nil || g.State != "Stable" || len(g.Members) != living {
				return false
			}
			for _, m := range g.Members {
				owned += len(m.Assignment[readersTopic])
			}
			return owned == killPartitions
		})
		done()
		if err != nil {
			t.Fatalf("round %d: the living members have not got all partitions: %v: %+v", round, err, g)
		}
	}
}

// balancer calls a function when its member, the leader, assigns partitions to that many members.
type balancer struct {
	kgo.GroupBalancer
	onBalance func(members int)
}

func (b balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	b.onBalance(len(members))
	return b.GroupBalancer.MemberBalancer(members)
}

// names returns the ids of a group's members.
func names(g *kfake.GroupInfo) map[string]bool {
	ids := make(map[string]bool)
	for _, m := range g.Members {
		ids[m.MemberID] = true
	}
	return ids
}
