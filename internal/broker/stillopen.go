package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/retry"
)

// Breaks counts the connections of clients that have ended. Kafka loses markers when brokers end
// while a transaction does, so without such an end nothing can hang.
type Breaks struct{ n atomic.Int64 }

// Option returns the client option that counts.
func (b *Breaks) Option() kgo.Opt { return kgo.WithHooks(b) }

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (b *Breaks) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { b.n.Add(1) }

// Count returns how many connections have ended.
func (b *Breaks) Count() int64 { return b.n.Load() }

// StillOpenError says that an earlier transaction of a producer hangs on partitions to which it is
// about to write. Kafka would take the records of the next transaction for more of that one, and
// its marker would end both: an abort would hide committed records.
type StillOpenError struct {
	ProducerID int64
	Partitions []BlockedPartition
}

// Error names the partitions, and what to do.
func (e *StillOpenError) Error() string {
	return fmt.Sprintf("an earlier transaction of producer id %d hangs on %s, and the next one would become a part of it: "+
		"weir transactions list says how it ended elsewhere, and which command finishes it", e.ProducerID, places(e.Partitions))
}

// refuseStillOpen returns a *StillOpenError if a transaction of the client is open on one of the
// topics, although it has acquired its transactional id and begun none: coordinators answer that
// request once they consider the markers written. What this client may not read is not checked.
func refuseStillOpen(ctx context.Context, client *kgo.Client, topics ...string) (unchecked []Unchecked, err error) {
	id, _, err := client.ProducerID(ctx)
	if err != nil {
		return nil, fmt.Errorf("acquire the transactional id: %w", err)
	}
	details, unchecked, err := readable(ctx, client, topics)
	if err != nil {
		return nil, err
	}
	open, refused, err := openOfProducer(ctx, client, details.TopicsSet(), id)
	if err != nil {
		return nil, err
	}
	for _, u := range refused {
		if u.Reason != refusal(kerr.TopicAuthorizationFailed) { // such as a leader that has moved
			return nil, fmt.Errorf("describe producers of %s: %s", u.Topic, u.Reason)
		}
	}
	if len(open) > 0 {
		return nil, &StillOpenError{ProducerID: id, Partitions: open}
	}
	return slices.Concat(unchecked, refused), nil
}

// openOfProducer returns the partitions of a set in which a producer has open records, in order.
func openOfProducer(ctx context.Context, client *kgo.Client, set kadm.TopicsSet, id int64) (open []BlockedPartition, refused []Unchecked, err error) {
	producers, refused, err := describeProducers(ctx, client, set)
	for _, p := range producers {
		if p.ProducerID == id && p.CurrentTxnStartOffset >= 0 {
			open = append(open, BlockedPartition{Topic: p.Topic, Partition: p.Partition, FirstOffset: p.CurrentTxnStartOffset})
		}
	}
	slices.SortFunc(open, comparePartitions)
	return open, refused, err
}

// Acquire acquires the transactional id of a client, which aborts what another client with this id
// has left open, and fences that one. An earlier transaction that hangs on one of the topics, which
// are all that the client writes to, is finished: see FinishStillOpen.
func Acquire(ctx context.Context, client *kgo.Client, log *slog.Logger, topics ...string) (unchecked []Unchecked, err error) {
	err = RefuseMixed(ctx, client)
	if err == nil {
		_, _, err = client.ProducerID(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("acquire transactional id %s: %w", transactionalID(client), err)
	}
	return FinishStillOpen(ctx, client, log, topics...)
}

// FinishStillOpen ends a transaction of the client that is open on one of the topics, although it
// has begun none, as that one ended elsewhere. If that is not proven, or not allowed, the error is
// a *StillOpenError. The coordinator must consider the markers of the client's transactions
// written.
func FinishStillOpen(ctx context.Context, client *kgo.Client, log *slog.Logger, topics ...string) (unchecked []Unchecked, err error) {
	unchecked, err = refuseStillOpen(ctx, client, topics...)
	var open *StillOpenError
	if !errors.As(err, &open) {
		return unchecked, err
	}
	finished, err := finishHanging(ctx, client, open.ProducerID)
	for i := range finished {
		t := &finished[i]
		log.Warn("finished a hanging transaction of this client as it ended elsewhere", "outcome", t.Evidence.Outcome,
			"producer_id", t.ProducerID, "epoch", t.Epoch, "partitions", places(t.Partitions), "evidence", t.Evidence.String())
	}
	if err != nil {
		return nil, fmt.Errorf("%w; this client could not do it: %w", open, err)
	}
	return refuseStillOpen(ctx, client, topics...)
}

// AwaitMarkers waits until the coordinator of the client, which has begun no transaction, considers
// the markers of its last one written. Until then that one is open where its marker is on its way.
func AwaitMarkers(ctx context.Context, client *kgo.Client) error {
	id := transactionalID(client)
	admin := kadm.NewClient(client)
	for {
		open, err := openOf(ctx, admin, []string{id})
		if !isAny(err, noCoordinator) && (err != nil || len(open) == 0) {
			return err
		}
		if err := retry.Sleep(ctx, endPoll); err != nil {
			return fmt.Errorf("wait for the markers of the last transaction of %s: %w", id, err)
		}
	}
}

// MixedError says that the open transaction of a producer has become a part of an earlier one,
// which hangs: its next marker will end both on these partitions, or has done so.
type MixedError struct {
	TransactionalID string
	ProducerID      int64
	Epoch           int16
	Earlier         int16 // epoch of the one that hangs; the lowest of several
	Partitions      []BlockedPartition
}

// Error says what is wrong with the partitions, and what to do.
func (e *MixedError) Error() string {
	return fmt.Sprintf("the transaction of %s (producer id %d epoch %d) has become a part of an earlier one, which hangs on %s, and one marker ends both: "+
		"an abort hides records that may have been committed, and a commit shows records that may have been aborted; "+
		"stop what writes and reads these topics, and begin again: weir run --reset for a pipeline",
		e.TransactionalID, e.ProducerID, e.Epoch, places(e.Partitions))
}

// RefuseMixed returns a *MixedError if the open transaction of the client's transactional id, also
// of another client that has it, has become a part of an earlier one. Each transaction has an epoch
// of its own (KIP-890), so the first of its open records would have an earlier epoch. Without
// transaction.version 2, transactions share epochs, and nothing is noticed; nor is it where the
// client may not read. It waits for a coordinator that is not available, as that of a new cluster
// until the first client has asked for it.
func RefuseMixed(ctx context.Context, client *kgo.Client) error {
	waiting, cancel := context.WithTimeout(ctx, coordinatorTimeout)
	defer cancel()
	for {
		err := refuseMixed(ctx, client, transactionalID(client))
		if !isAny(err, noCoordinator) || retry.Sleep(waiting, endPoll) != nil {
			return err
		}
	}
}

// coordinatorTimeout is how long RefuseMixed waits for a coordinator.
const coordinatorTimeout = 30 * time.Second

// noCoordinator are the errors while a coordinator is elected or loads its log.
var noCoordinator = []error{kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator}

func refuseMixed(ctx context.Context, client *kgo.Client, id string) error {
	open, err := transactionsOf(ctx, kadm.NewClient(client), id)
	if err != nil || len(open) == 0 || open[0].State != "Ongoing" {
		return err
	}
	t := open[0]
	l := logs{client: client}
	if l.topics, _, err = readable(ctx, client, t.Topics.Topics()); err != nil {
		return err
	}
	partitions, _, err := openOfProducer(ctx, client, t.Topics, t.ProducerID)
	if err != nil {
		return err
	}
	mixed := &MixedError{TransactionalID: id, ProducerID: t.ProducerID, Epoch: t.ProducerEpoch, Earlier: t.ProducerEpoch}
	for _, p := range partitions {
		first, err := l.epochAt(ctx, partitionKey{p.Topic, p.Partition}, p.FirstOffset, t.ProducerID)
		if err != nil {
			return err
		}
		if first >= 0 && first < t.ProducerEpoch {
			mixed.Earlier = min(mixed.Earlier, first)
			mixed.Partitions = append(mixed.Partitions, p)
		}
	}
	if len(mixed.Partitions) > 0 {
		return mixed
	}
	return nil
}
