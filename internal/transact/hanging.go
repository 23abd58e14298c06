package transact

import (
	"context"
	"errors"
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
	ended     *ended             // the session's last transaction; nil before it
	unchecked []broker.Unchecked // what was warned of
}

// ended is a transaction that has ended.
type ended struct {
	epoch     int16
	committed bool
}

// ClientOption returns an option that the client of each session needs.
func (s *Sessions) ClientOption() kgo.Opt { return s.hanging.breaks.Option() }

// checked notes a check for hanging transactions that has found none, or none that is left, after
// breaks connections had ended.
func (s *Sessions) checked(breaks int64, unchecked []broker.Unchecked) {
	s.hanging.checked = breaks
	for _, u := range unchecked {
		if !slices.Contains(s.hanging.unchecked, u) {
			s.hanging.unchecked = append(s.hanging.unchecked, u)
			s.Logger.Warn("a transaction of this client that hangs on this topic would not be noticed", "topic", u.Topic, "reason", u.Reason)
		}
	}
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
// If a connection has ended since the transaction began, an earlier one may hang, and the open one
// be a part of it. Then only the same end is right for both: an abort follows an abort, and if a
// commit can't follow a commit, or the one that hangs is not the last one, the error is a
// *broker.MixedError.
func (s *Sessions) end(ctx context.Context, client *kgo.Client, try kgo.TransactionEndTry, how func(kgo.TransactionEndTry) (bool, error)) (committed bool, err error) {
	var mixed *broker.MixedError
	if s.mayHang() {
		if err := broker.RefuseMixed(ctx, client); err != nil && !errors.As(err, &mixed) {
			return false, err
		}
	}
	last := s.hanging.ended
	known := mixed != nil && last != nil && last.epoch == mixed.Earlier
	if known && !last.committed {
		try = kgo.TryAbort
	}
	committed, err = how(try)
	if mixed != nil && (!known || committed != last.committed) {
		return false, errors.Join(mixed, err)
	}
	s.hanging.ended = &ended{s.begun.Epoch(), committed}
	return committed, err
}
