package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/retry"
)

// DefaultStopTimeout bounds how long a stop may take to end open transactions.
const DefaultStopTimeout = 20 * time.Second

// Finishing returns a context for work that a stop must not interrupt, such as a transaction and
// its client: once ctx is done, the work has limit to finish. Cancel it when the work is done.
//
// Transactional clients use such a context (kgo.WithContext), which bounds their Close as well.
func Finishing(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stopped := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(limit, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	return work, func() {
		stopped()
		cancel()
	}
}

var errNoAnswer = errors.New("no answer from the broker in time")

// LeftOpenError means that a stop may have left a transaction open.
type LeftOpenError struct {
	TransactionalID string
	Timeout         time.Duration // after which the broker aborts it
	Err             error         // why it could not be ended
}

// Error names the transaction, the effect on readers, and the ways to end it.
func (e *LeftOpenError) Error() string {
	reason := errNoAnswer.Error()
	if e.Err != nil && !errors.Is(e.Err, context.Canceled) && !errors.Is(e.Err, context.DeadlineExceeded) {
		reason = e.Err.Error()
	}
	return fmt.Sprintf("end transaction %s: %s: it may be left open, and readers then wait until the broker aborts it after %s; "+
		"to end it now, start the same command again, or run weir transactions abort %s",
		e.TransactionalID, reason, e.Timeout, e.TransactionalID)
}

// Unwrap returns why it could not be ended.
func (e *LeftOpenError) Unwrap() error { return e.Err }

// Begun identifies a transaction that a client of this process has begun; the zero value is none.
// It stays valid after the client is closed.
type Begun struct {
	transactionalID string
	timeout         time.Duration // after which the broker aborts it
	producerID      int64
	epoch           int16
}

// BegunBy identifies the open transaction of a client. It sends a request only if the client's last
// one failed; ctx bounds it.
func BegunBy(ctx context.Context, client *kgo.Client) (Begun, error) {
	id, epoch, err := client.ProducerID(ctx)
	if err != nil {
		return Begun{}, fmt.Errorf("begin transaction: %w", err)
	}
	b := Begun{producerID: id, epoch: epoch}
	b.transactionalID = transactionalID(client)
	b.timeout, _ = client.OptValue(kgo.TransactionTimeout).(time.Duration)
	return b, nil
}

// transactionalID returns the option of a client.
func transactionalID(client *kgo.Client) string {
	id, _ := client.OptValue(kgo.TransactionalID).(string)
	return id
}

// Epoch returns the epoch of its records.
func (b *Begun) Epoch() int16 { return b.epoch }

// EndOpen aborts a transaction that a client of this process may have left open; cause is why the
// client did not end it. It retries until ctx is done, for at most DefaultStopTimeout; the error is
// a *LeftOpenError.
//
// The request has the transaction's producer id and epoch, so the broker rejects it if the
// transaction has ended, or if a newer process has acquired the transactional id (which ends it
// too; KIP-98). Acquiring the id instead would fence that process.
func EndOpen(ctx context.Context, c Config, b Begun, cause error) error {
	if b == (Begun{}) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultStopTimeout)
	defer cancel()
	wait := retry.Backoff()
	for {
		err := b.end(ctx, c)
		if err == nil {
			return nil
		}
		if Classify(err) == Fatal || retry.Sleep(ctx, min(wait.NextBackOff(), time.Second)) != nil {
			return &LeftOpenError{TransactionalID: b.transactionalID, Timeout: b.timeout, Err: clearest(err, cause)}
		}
	}
}

// ended are the errors for a transaction that has already ended.
var ended = append([]error{kerr.InvalidTxnState, kerr.InvalidProducerIDMapping, kerr.TransactionalIDNotFound}, fenced...)

// end requests the abort once, and waits for its markers.
func (b *Begun) end(ctx context.Context, c Config) error {
	client, err := Connect(ctx, c, kgo.WithContext(ctx))
	if err != nil {
		return err
	}
	defer client.Close()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = b.transactionalID, b.producerID, b.epoch, false
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil && !isAny(err, ended) {
		return err
	}
	for {
		open, err := transactionsOf(ctx, kadm.NewClient(client), b.transactionalID)
		if err != nil || !slices.ContainsFunc(open, b.ending) {
			return err
		}
		if err := retry.Sleep(ctx, endPoll); err != nil {
			return err
		}
	}
}

// ending reports whether t is this transaction, still being ended. An ongoing one belongs to a
// newer process.
func (b *Begun) ending(t kadm.DescribedTransaction) bool {
	return t.ProducerID == b.producerID && t.State != "Ongoing"
}

// clearest returns the first error that is more than a timeout or cancellation.
func clearest(errs ...error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return errs[0]
}

// endPoll is the interval between checks of whether transactions have ended or become visible.
const endPoll = 20 * time.Millisecond

// AwaitEnded waits until no transaction of the ids is open or being ended: a broker acknowledges
// the end before the markers are on all partitions. The error names the remaining ones.
func AwaitEnded(ctx context.Context, c Config, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	client, err := Connect(ctx, c)
	if err != nil {
		return fmt.Errorf("wait for the end of the transactions of %s: %s", strings.Join(ids, ", "), clearest(err, errNoAnswer).Error()) // text only, as below
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for {
		open, err := openOf(ctx, admin, ids)
		if err == nil && len(open) == 0 {
			return nil
		}
		if sleepErr := retry.Sleep(ctx, endPoll); sleepErr != nil {
			// The cause is text only: a wrapped context.Canceled would look like an ordinary stop.
			which, cause := slices.Concat(open, ids)[:max(1, len(open))], clearest(err, errNoAnswer).Error()
			return fmt.Errorf("wait for the end of the transactions of %s: %s; the broker will end them, weir transactions list shows when",
				strings.Join(which, ", "), cause)
		}
	}
}

// openOf returns which of the transactional ids have a transaction that is open or being ended.
func openOf(ctx context.Context, admin *kadm.Client, ids []string) (open []string, err error) {
	described, err := transactionsOf(ctx, admin, ids...)
	for _, d := range described {
		open = append(open, d.TxnID)
	}
	return open, err
}

// transactionsOf returns the transactions of the ids that are open or being ended.
func transactionsOf(ctx context.Context, admin *kadm.Client, ids ...string) (open []kadm.DescribedTransaction, err error) {
	described, err := admin.DescribeTransactions(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("describe transactions: %w", err)
	}
	for _, d := range described.Sorted() {
		switch {
		case errors.Is(d.Err, kerr.TransactionalIDNotFound):
		case d.Err != nil:
			return nil, fmt.Errorf("describe transaction %s: %w", d.TxnID, d.Err)
		case slices.Contains([]string{"Ongoing", "PrepareCommit", "PrepareAbort"}, d.State):
			open = append(open, d)
		}
	}
	return open, nil
}
