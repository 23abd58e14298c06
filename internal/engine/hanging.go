package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/retry"
)

// hangingWatch looks for transactions that hang on the topics of a pipeline and on the offsets of
// its group: no timeout ends them, and the pipeline waits for ever, before its start or while it
// runs. One that is found twice, a transaction timeout apart, is reported.
type hangingWatch struct {
	cfg      *Config
	uses     func(topic string) bool
	client   *kgo.Client
	before   []broker.Transaction // at the last look
	reported []broker.Transaction
	warned   []broker.Unchecked
}

// watchHanging watches until ctx is done.
func watchHanging(ctx context.Context, cfg *Config, program *plan.Program) {
	w := &hangingWatch{cfg: cfg, uses: program.Uses}
	defer func() {
		if w.client != nil {
			w.client.Close()
		}
	}()
	for retry.Sleep(ctx, cfg.TransactionTimeout) == nil {
		look, cancel := context.WithTimeout(ctx, cfg.TransactionTimeout)
		err := w.look(look)
		cancel()
		if err != nil && ctx.Err() == nil {
			cfg.Logger.Debug("looking for hanging transactions failed", "err", err)
		}
	}
}

func (w *hangingWatch) look(ctx context.Context) error {
	if w.client == nil {
		client, err := broker.Connect(ctx, w.cfg.Broker)
		if err != nil {
			return err
		}
		w.client = client
	}
	topics, offsets, err := w.topics(ctx)
	if err != nil {
		return err
	}
	listed, err := broker.ListTransactions(ctx, w.client, time.Now(), topics...)
	if err != nil {
		return err
	}
	for _, u := range listed.Unchecked {
		if !slices.Contains(w.warned, u) {
			w.warned = append(w.warned, u)
			w.cfg.Logger.Warn("a transaction that hangs on this topic would not be noticed", "topic", u.Topic, "reason", u.Reason)
		}
	}
	now := ofGroup(listed.Hanging(), offsets)
	var found []broker.Transaction
	for i := range now {
		if !slices.ContainsFunc(w.before, now[i].Same) {
			continue
		}
		t, err := w.explained(ctx, &now[i])
		if err != nil {
			return err
		}
		found = append(found, t)
	}
	w.before = now
	w.report(found)
	return nil
}

// topics returns the topics to look at, and the partition of the group's offsets.
func (w *hangingWatch) topics(ctx context.Context) (topics []string, offsets int32, err error) {
	admin := kadm.NewClient(w.client)
	all, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("list topics: %w", err)
	}
	for _, name := range all.Names() {
		if w.uses(name) {
			topics = append(topics, name)
		}
	}
	if n, err := broker.OffsetsPartitions(ctx, w.client); err == nil && n > 0 {
		offsets = broker.OffsetsPartition(Group(w.cfg.Program), int32(n)) //nolint:gosec // few
	}
	return append(topics, broker.OffsetsTopic), offsets, nil
}

// ofGroup leaves out partitions with the offsets of other groups only.
func ofGroup(all []broker.Transaction, offsets int32) []broker.Transaction {
	for i := range all {
		all[i].Partitions = slices.DeleteFunc(all[i].Partitions, func(p broker.BlockedPartition) bool {
			return p.Topic == broker.OffsetsTopic && p.Partition != offsets
		})
	}
	return slices.DeleteFunc(all, func(t broker.Transaction) bool { return len(t.Partitions) == 0 })
}

// explained returns the transaction with its evidence, which is looked for again only if it was not
// sufficient.
func (w *hangingWatch) explained(ctx context.Context, t *broker.Transaction) (broker.Transaction, error) {
	i := slices.IndexFunc(w.reported, t.Same)
	if i >= 0 && w.reported[i].Evidence.Outcome != broker.UnknownOutcome {
		t.Evidence = w.reported[i].Evidence
		return *t, nil
	}
	var err error
	t.Evidence, err = broker.Investigate(ctx, w.client, t)
	return *t, err
}

func (w *hangingWatch) report(found []broker.Transaction) {
	for i := range found {
		if !slices.ContainsFunc(w.reported, found[i].Same) {
			w.cfg.Logger.Error("a hanging transaction blocks the pipeline", "transaction", found[i].Describe())
		}
	}
	for i := range w.reported {
		if !slices.ContainsFunc(found, w.reported[i].Same) {
			w.cfg.Logger.Info("a hanging transaction has ended", "producer_id", w.reported[i].ProducerID, "epoch", w.reported[i].Epoch)
		}
	}
	w.reported = found
	w.cfg.Status.hang(found)
}

// hang notes the transactions that hang on the pipeline's topics.
func (s *Status) hang(found []broker.Transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hanging = found
}
