package transact

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// hanging notices an earlier transaction of the client that hangs on a partition, because Kafka has
// lost its marker: the next transaction would become a part of it there, and its marker would end
// both.
type hanging struct {
	topics    []string // that the client writes to
	breaks    broker.Breaks
	checked   int64              // breaks before the last check that found nothing
	committed bool               // what the client's last transaction was
	unchecked []broker.Unchecked // what was warned of
}

// ClientOption returns an option that the client of each session needs.
func (s *Sessions) ClientOption() kgo.Opt { return s.hanging.breaks.Option() }

// refuseHanging finishes an earlier transaction that hangs as it ended elsewhere. If that is not
// proven, or not allowed, it returns a *broker.StillOpenError. The coordinator must consider the
// markers of the client's transactions written.
func (s *Sessions) refuseHanging(ctx context.Context, client *kgo.Client) error {
	breaks := s.hanging.breaks.Count()
	unchecked, err := broker.RefuseStillOpen(ctx, client, s.hanging.topics...)
	var open *broker.StillOpenError
	if errors.As(err, &open) {
		unchecked, err = s.finish(ctx, client, open)
	}
	if err != nil {
		return err
	}
	s.hanging.checked = breaks
	for _, u := range unchecked {
		if !slices.Contains(s.hanging.unchecked, u) {
			s.hanging.unchecked = append(s.hanging.unchecked, u)
			s.Logger.Warn("a transaction of this client that hangs on this topic would not be noticed", "topic", u.Topic, "reason", u.Reason)
		}
	}
	return nil
}

// finish ends what hangs, and looks again.
func (s *Sessions) finish(ctx context.Context, client *kgo.Client, open *broker.StillOpenError) ([]broker.Unchecked, error) {
	finished, err := broker.FinishHanging(ctx, client, open.ProducerID)
	for i := range finished {
		t := &finished[i]
		s.Logger.Warn("finished a hanging transaction of this client as it ended elsewhere", "outcome", t.Evidence.Outcome,
			"producer_id", t.ProducerID, "epoch", t.Epoch, "partitions", t.Places(), "evidence", t.Evidence.String())
	}
	if err != nil {
		return nil, fmt.Errorf("%w; this client could not do it: %w", open, err)
	}
	return broker.RefuseStillOpen(ctx, client, s.hanging.topics...)
}

// mayHang reports whether a connection has ended since the last check.
func (s *Sessions) mayHang() bool { return s.hanging.breaks.Count() != s.hanging.checked }

// errAborted is the error of a commit that became an abort: see end.
var errAborted = errors.New("it was aborted, as the one before, which hangs and of which it had become a part")

// Commit commits the open transaction of a client that is in no group. All of its records must be
// acknowledged. After an error the outcome is unknown.
func (s *Sessions) Commit(ctx context.Context, client *kgo.Client) error {
	committed, err := s.end(ctx, client, kgo.TryCommit, endOf(ctx, client))
	if err == nil && !committed {
		err = errAborted
	}
	return err
}

// Abort aborts the open transaction of a client that is in no group.
func (s *Sessions) Abort(ctx context.Context, client *kgo.Client) error {
	_, err := s.end(ctx, client, kgo.TryAbort, endOf(ctx, client))
	return err
}

func endOf(ctx context.Context, client *kgo.Client) func(kgo.TransactionEndTry) (committed bool, err error) {
	return func(try kgo.TransactionEndTry) (bool, error) {
		if try == kgo.TryCommit {
			err := broker.Commit(ctx, client)
			return err == nil, err
		}
		return false, client.EndTransaction(ctx, kgo.TryAbort)
	}
}

// end ends the open transaction of a client by calling how, which reports whether it has committed.
//
// If a connection has ended since the transaction began, the one before may hang, and the open one
// be a part of it. Then only the same end is right for both: an abort follows an abort, and if a
// commit can't follow a commit, the error is a *broker.MixedError.
func (s *Sessions) end(ctx context.Context, client *kgo.Client, try kgo.TransactionEndTry, how func(kgo.TransactionEndTry) (bool, error)) (committed bool, err error) {
	var mixed *broker.MixedError
	if s.mayHang() {
		id, _ := client.OptValue(kgo.TransactionalID).(string)
		if err := broker.RefuseMixed(ctx, client, id); err != nil && !errors.As(err, &mixed) {
			return false, err
		}
	}
	before := s.hanging.committed
	if mixed != nil && !before {
		try = kgo.TryAbort
	}
	committed, err = how(try)
	if mixed != nil && committed != before {
		return false, errors.Join(mixed, err)
	}
	s.hanging.committed = committed
	return committed, err
}
