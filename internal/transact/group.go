package transact

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// GroupConfig is what differs between the consumers of transactional sessions.
type GroupConfig struct {
	TransactionalID string
	Group           string
	Topics          []string
	Writes          []string // all topics that the transactions write to, but the group's offsets

	TransactionTimeout time.Duration
	SessionTimeout     time.Duration

	OnAssigned func(context.Context, *kgo.Client, map[string][]int32)
	OnRevoked  func(context.Context, *kgo.Client, map[string][]int32) // also for partitions that are lost
}

// Group is a member of a consumer group whose offsets are committed in its transactions.
type Group struct {
	Client *kgo.Client
	Admin  *kadm.Client // over Client

	sessions *Sessions
	session  *kgo.GroupTransactSession
	ending   broker.Ending
}

// OpenGroup connects a session to its group and acquires its transactional id, as Acquire does.
// opts are added to the options that all such sessions have.
func (s *Sessions) OpenGroup(ctx context.Context, c GroupConfig, opts ...kgo.Opt) (*Group, error) {
	base, err := s.Broker.Options()
	if err != nil {
		return nil, err
	}
	g := &Group{sessions: s}
	g.session, err = kgo.NewGroupTransactSession(append(append(base,
		kgo.WithContext(s.Work),
		kgo.TransactionalID(c.TransactionalID),
		kgo.TransactionTimeout(c.TransactionTimeout),
		kgo.ConsumerGroup(c.Group),
		kgo.ConsumeTopics(c.Topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(c.SessionTimeout),
		kgo.HeartbeatInterval(c.SessionTimeout/5),
		kgo.OnPartitionsAssigned(c.OnAssigned),
		kgo.OnPartitionsRevoked(c.OnRevoked),
		kgo.OnPartitionsLost(c.OnRevoked),
		kgo.KeepControlRecords(), // the committed offset passes transaction markers, so that lag can reach 0
		broker.ClientLog(s.Logger),
		g.ending.Option(),
		s.ClientOption(),
	), opts...)...)
	if err != nil {
		return nil, &settingsError{err}
	}
	g.Client = g.session.Client()
	g.Admin = kadm.NewClient(g.Client)
	if err := s.Acquire(ctx, g.Client, append(slices.Clone(c.Writes), broker.OffsetsTopic)...); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// Poll waits for records until ctx is done, and returns at most limit of them; 0 means no limit.
func (g *Group) Poll(ctx context.Context, limit int) kgo.Fetches {
	return g.session.PollRecords(ctx, limit)
}

// Begin begins a transaction.
func (g *Group) Begin() error {
	if err := g.session.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	return nil
}

// End commits or aborts the open transaction, together with the offsets of all polled records. It
// reports false without an error if the transaction was aborted, as when the group rebalances; the
// session is then back at the committed offsets. After an error, of which broker.ErrUnknownEnd is
// one, the outcome is unknown and the session can't be used any more.
func (g *Group) End(ctx context.Context, try kgo.TransactionEndTry) (committed bool, err error) {
	return g.sessions.end(ctx, g.Client, try, func(try kgo.TransactionEndTry) (bool, error) {
		return g.ending.End(ctx, g.session, try)
	})
}

// Close leaves the group and closes the client.
func (g *Group) Close() { g.session.Close() }
