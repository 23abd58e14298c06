package transact

import (
	"context"
	"fmt"
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

	TransactionTimeout time.Duration
	SessionTimeout     time.Duration

	OnAssigned func(context.Context, *kgo.Client, map[string][]int32)
	OnRevoked  func(context.Context, *kgo.Client, map[string][]int32) // also for partitions that are lost
}

// Group is a member of a consumer group whose offsets are committed in its transactions.
type Group struct {
	Client *kgo.Client
	Admin  *kadm.Client // over Client

	session *kgo.GroupTransactSession
	ending  broker.Ending
}

// OpenGroup connects a session to its group and acquires its transactional id, which aborts the
// transaction that an earlier session or process left open. opts are added to the options that all
// such sessions have.
func (s *Sessions) OpenGroup(ctx context.Context, c GroupConfig, opts ...kgo.Opt) (*Group, error) {
	base, err := s.Broker.Options()
	if err != nil {
		return nil, err
	}
	g := &Group{}
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
	), opts...)...)
	if err != nil {
		return nil, &settingsError{err}
	}
	g.Client = g.session.Client()
	g.Admin = kadm.NewClient(g.Client)
	if _, _, err := g.Client.ProducerID(ctx); err != nil {
		g.Close()
		return nil, fmt.Errorf("acquire transactional id %s: %w", c.TransactionalID, err)
	}
	s.Acquired()
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
	return g.ending.End(ctx, g.session, try)
}

// Close leaves the group and closes the client.
func (g *Group) Close() { g.session.Close() }
