package broker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrUnknownEnd means that the outcome of a commit is unknown: the broker's response does not
// settle it.
var ErrUnknownEnd = errors.New("the broker did not say whether the transaction is committed: the log decides")

// Commit commits the open transaction of a client. All of its records must be acknowledged.
//
// [kgo.Client.EndTransaction] alone may abort it and return nil. It counts the partitions that the
// transaction has written to, and aborts if it finds none. The client sends the records that waited
// for the partitions of a topic before it publishes these partitions, so the broker may acknowledge
// the records of a new topic before the client can count them.
func Commit(ctx context.Context, client *kgo.Client) error {
	if err := awaitPartitions(ctx, client); err != nil {
		return err
	}
	return client.EndTransaction(ctx, kgo.TryCommit)
}

// awaitPartitions waits until the client has published the partitions of all topics with
// acknowledged records. It holds a lock from before it sends the records until after that, which
// AbortBufferedRecords acquires. No record may be buffered: it would be aborted.
func awaitPartitions(ctx context.Context, client *kgo.Client) error {
	return client.AbortBufferedRecords(ctx)
}

// Ending ends the transactions of one group session, and distinguishes an abort from a commit with
// an unknown outcome.
//
// [kgo.GroupTransactSession.End] does not: if the broker answers a commit with
// UNKNOWN_SERVER_ERROR, it reinitializes the transactional id, which aborts an open transaction,
// rewinds to the offsets before the transaction and reports that nothing was committed. If the
// broker had committed by then, the records are in the log, and continuing from the older offsets
// would write them twice. The client reinitializes its id for no other reason.
type Ending struct{ taken atomic.Int64 } // InitProducerID requests

// Option returns the client option that counts its InitProducerID requests.
func (e *Ending) Option() kgo.Opt { return kgo.WithHooks(e) }

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (e *Ending) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == kmsg.InitProducerID.Int16() {
		e.taken.Add(1)
	}
}

// End ends the open transaction of a session as [kgo.GroupTransactSession.End] does, but never
// reports a commit that was an abort: see Commit. To commit, all records must be acknowledged.
// After an error, ErrUnknownEnd included, the session is unusable: a new one asks the broker what
// was committed.
func (e *Ending) End(ctx context.Context, s *kgo.GroupTransactSession, try kgo.TransactionEndTry) (committed bool, err error) {
	if try == kgo.TryCommit {
		if err := awaitPartitions(ctx, s.Client()); err != nil {
			return false, err
		}
	}
	before := e.taken.Load()
	committed, err = s.End(ctx, try)
	if err == nil && !committed && try == kgo.TryCommit && e.taken.Load() != before {
		return false, ErrUnknownEnd
	}
	return committed, err
}
