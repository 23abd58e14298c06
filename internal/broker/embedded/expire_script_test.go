package embedded

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Deaths of members at chosen steps of a rebalance. The session timeout is short and the rebalance
// timeout is long: a group that forgets a dead member goes on after a few session timeouts, and one
// that waits for it does not.
const (
	scriptSession   = 400 * time.Millisecond
	scriptRebalance = 30 * time.Second
	scriptPatience  = 10 * scriptSession
)

// scripted is a member of a group that sends only what a test tells it to send.
type scripted struct {
	*testing.T
	client     *kgo.Client
	network    *network
	id         string
	generation int32
	leads      bool
}

func newScripted(t *testing.T, addr string) *scripted {
	t.Helper()
	n := &network{}
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DisableClientMetrics(), kgo.Dialer(n.dial), kgo.RequestRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &scripted{T: t, client: c, network: n}
}

// join sends JoinGroup, with the member's id if it has one, and waits for the response.
func (m *scripted) join(ctx context.Context) error {
	for {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID, req.ProtocolType = readersGroup, m.id, "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(scriptSession.Milliseconds()), int32(scriptRebalance.Milliseconds())
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
		resp, err := req.RequestWith(ctx, m.client)
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(resp.ErrorCode)
		m.id, m.generation, m.leads = resp.MemberID, resp.Generation, resp.LeaderID == resp.MemberID
		if !errors.Is(err, kerr.MemberIDRequired) {
			return err
		}
	}
}

// sync sends SyncGroup and waits for the response.
func (m *scripted) sync(ctx context.Context) error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = readersGroup, m.id, m.generation
	resp, err := req.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// live joins the group again until it is assigned partitions.
func (m *scripted) live(ctx context.Context) error {
	for {
		if err := m.join(ctx); err != nil {
			return err
		}
		if err := m.sync(ctx); !errors.Is(err, kerr.RebalanceInProgress) {
			return err
		}
	}
}

// heartbeats sends Heartbeat, as long as the member may stay as it is.
func (m *scripted) heartbeats(ctx context.Context) error {
	for {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = readersGroup, m.id, m.generation
		resp, err := req.RequestWith(ctx, m.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(scriptSession / 5):
		}
	}
}

// dies closes the member's connections and sends nothing any more.
func (m *scripted) dies() { m.network.cut() }

// start calls fn beside the test and returns its result when it is received.
func start(fn func(context.Context) error, ctx context.Context) <-chan error { //nolint:revive // fn first: start(m.join, ctx)
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	return done
}

// pair is a group of two members between JoinGroup and SyncGroup.
func pair(ctx context.Context, t *testing.T, addr string) (leader, follower *scripted) {
	t.Helper()
	a, b := newScripted(t, addr), newScripted(t, addr)
	must(t, a.join(ctx))
	must(t, a.sync(ctx))
	joined := start(b.join, ctx)
	if err := a.heartbeats(ctx); !errors.Is(err, kerr.RebalanceInProgress) {
		t.Fatalf("the first member's heartbeats ended with %v", err)
	}
	must(t, a.join(ctx))
	must(t, <-joined)
	if a.leads {
		return a, b
	}
	return b, a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The follower dies while it waits for its SyncGroup response. The leader, which takes longer than
// a session timeout to assign partitions, goes on alone.
func followerDiesInSync(ctx context.Context, t *testing.T, addr string) error {
	leader, follower := pair(ctx, t, addr)
	assigning, done := context.WithTimeout(ctx, 3*scriptSession)
	defer done()
	synced := start(follower.sync, ctx)
	time.Sleep(scriptSession / 4) // the request arrives
	follower.dies()
	t.Log("the dead member:", <-synced)
	err := leader.heartbeats(assigning)
	if errors.Is(err, context.DeadlineExceeded) {
		if err := leader.sync(ctx); err != nil {
			return err
		}
		err = leader.heartbeats(ctx)
	}
	if !errors.Is(err, kerr.RebalanceInProgress) {
		return err
	}
	return leader.join(ctx)
}

// Both members die: the follower while it waits for its SyncGroup response, the leader before it
// has sent the assignment. A third one joins.
func bothDieInSync(ctx context.Context, t *testing.T, addr string) error {
	leader, follower := pair(ctx, t, addr)
	synced := start(follower.sync, ctx)
	time.Sleep(scriptSession / 4) // the request arrives
	follower.dies()
	leader.dies()
	t.Log("the dead member:", <-synced)
	return newScripted(t, addr).join(ctx)
}

// A member dies while it waits for its JoinGroup response, and the only other one before it has
// joined again. Two others join.
func allDieInJoin(ctx context.Context, t *testing.T, addr string) error {
	leader, follower := pair(ctx, t, addr)
	synced := start(follower.sync, ctx)
	must(t, leader.sync(ctx))
	must(t, <-synced)
	third := newScripted(t, addr)
	joined := start(third.join, ctx)
	time.Sleep(scriptSession / 4) // the requests arrive
	rejoined := start(follower.join, ctx)
	time.Sleep(scriptSession / 4)
	for _, m := range []*scripted{leader, follower, third} {
		m.dies()
	}
	t.Log("the dead member:", <-joined)
	t.Log("the dead member:", <-rejoined)
	first, second := start(newScripted(t, addr).live, ctx), start(newScripted(t, addr).live, ctx)
	return errors.Join(<-first, <-second)
}

func TestScriptedDeaths(t *testing.T) {
	scripts := map[string]func(context.Context, *testing.T, string) error{
		"a follower dies while it waits for SyncGroup": followerDiesInSync,
		"all die between JoinGroup and SyncGroup":      bothDieInSync,
		"all die while some wait for JoinGroup":        allDieInJoin,
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newReaders(t).broker
			ctx, cancel := context.WithTimeout(t.Context(), scriptPatience)
			defer cancel()
			if err := script(ctx, t, b.Addr()); err != nil {
				t.Errorf("the group does not go on: %v", err)
			}
		})
	}
}

// kfake alone waits for the rebalance timeout. Once it does not, onJoinGroup need not recount.
func TestScriptedDeathsOnKfakeAlone(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), scriptPatience)
	defer cancel()
	if err := followerDiesInSync(ctx, t, c.ListenAddrs()[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("kfake no longer waits for a member that does not exist: %v", err)
	}
}
