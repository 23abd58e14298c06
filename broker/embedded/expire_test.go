package embedded

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// network is what a client is connected by.
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

// cut closes all connections for good, as the end of a process does.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for _, conn := range n.conns {
		_ = conn.Close()
	}
}

// Members that are killed while they join a group are expelled after their session timeout, and the
// others have all partitions again. There are several, since kfake forgets each with a probability
// of one half.
func TestMembersKilledWhileTheyJoin(t *testing.T) {
	const group, topic, session, killed = "readers", "events", time.Second, 6
	b := open(t, Config{Dir: t.TempDir()})
	admin := kadm.NewClient(client(t, b))
	createTopic(t, client(t, b), topic, nil)
	if _, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Name: "group.min.session.timeout.ms", Value: kadm.StringPtr("10")}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	join := func(name string) *network {
		n := &network{}
		c := client(t, b, kgo.WithContext(ctx), kgo.Dialer(n.dial), kgo.ClientID(name), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Balancers(kgo.RangeBalancer()),
			kgo.SessionTimeout(session), kgo.HeartbeatInterval(session/5), kgo.RebalanceTimeout(2*session))
		go func() {
			for ctx.Err() == nil && !c.PollFetches(ctx).IsClientClosed() {
			}
		}()
		return n
	}
	await := func(state string, members int) *kfake.GroupInfo {
		t.Helper()
		wait, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		g, err := b.cluster.WaitGroupInfo(wait, group, func(g *kfake.GroupInfo) bool {
			return g != nil && g.State == state && len(g.Members) == members
		})
		if err != nil {
			t.Fatalf("the group is not %s with %d members: %v: %+v", state, members, err, g)
		}
		return g
	}
	join("first")
	await("Stable", 1)
	join("second")
	await("Stable", 2)
	var networks []*network
	for i := range killed {
		networks = append(networks, join(fmt.Sprint("killed", i)))
	}
	await("PreparingRebalance", 2+killed) // they have asked to join, and wait for the others
	for _, n := range networks {
		n.cut()
	}
	await("Stable", 2+killed)
	g := await("Stable", 2)
	var owned []int32
	for _, m := range g.Members {
		owned = append(owned, m.Assignment[topic]...)
	}
	if slices.Sort(owned); len(owned) != killPartitions {
		t.Errorf("the members that live have partitions %v, expected all %d", owned, killPartitions)
	}
	stop()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}
