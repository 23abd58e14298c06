package broker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrUnknownEnd says that a broker was asked to commit a transaction, and that its answer does not
// say whether it has.
var ErrUnknownEnd = errors.New("the broker did not say whether the transaction is committed: the log decides")

// Ending ends the transactions of one group session, and tells an abort from a commit whose outcome
// is not known.
//
// [kgo.GroupTransactSession.End] does not: where the broker answers UNKNOWN_SERVER_ERROR to a
// commit, it takes the transactional id again, which aborts what is still open, rewinds to the
// offsets before the transaction and reports that nothing was committed. A broker that had
// committed by then has all of it in the log, and reading on from the older offsets would write it
// twice. The client takes its id again for no other reason once it has it.
type Ending struct{ taken atomic.Int64 } // requests for the transactional id

// Option makes a client tell when it takes its transactional id.
func (e *Ending) Option() kgo.Opt { return kgo.WithHooks(e) }

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (e *Ending) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == kmsg.InitProducerID.Int16() {
		e.taken.Add(1)
	}
}

// End ends the open transaction of a session as [kgo.GroupTransactSession.End] does. After an
// error, of which ErrUnknownEnd is one, the session can't be used: a new one asks the broker what
// is committed.
func (e *Ending) End(ctx context.Context, s *kgo.GroupTransactSession, try kgo.TransactionEndTry) (committed bool, err error) {
	before := e.taken.Load()
	committed, err = s.End(ctx, try)
	if err == nil && !committed && try == kgo.TryCommit && e.taken.Load() != before {
		return false, ErrUnknownEnd
	}
	return committed, err
}
