// Package transact has what the transactional clients of Weir share: the engine's workers, the
// producer and the delivery of alerts.
//
// Their work is done in sessions. A session is one life of a Kafka client. When the outcome of a
// transaction is unknown, or a read fails, the session ends with the error and everything that it
// knew; the next one acquires the same transactional id, which aborts what was left open, and
// starts from what the broker says is committed.
//
//	sessions.go  sessions and retries, and the end of the transaction that the last one left open
//	hanging.go   earlier transactions that hang where the client writes
//	group.go     a session that consumes in a group and commits its offsets in the transactions
package transact

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// Sessions runs the sessions of one transactional client, one at a time. Its methods are for the
// goroutine that calls Run.
type Sessions struct {
	Broker broker.Config
	Logger *slog.Logger

	// Work is the context of Kafka clients and transactions. It outlives the context of Run, so
	// that a stop leaves time to end them: see [broker.Finishing].
	Work context.Context

	// Permanent reports whether a new session would fail in the same way. Run returns such an
	// error.
	Permanent func(error) bool

	// OnRetry is called with the error of a session before the wait for the next one; default none.
	OnRetry func(error)

	hanging hanging

	reached bool // a broker has answered at least once
	commits int
	begun   broker.Begun // the transaction that was begun last
	left    error        // why the last session may have left it open; nil if it has not
}

// settingsError says that the client library refuses the options of a session.
type settingsError struct{ err error }

func (e *settingsError) Error() string { return "open session: " + e.err.Error() }
func (e *settingsError) Unwrap() error { return e.err }

// Run runs sessions until one returns nil, ctx is done, or an error is permanent. An unreachable
// broker is permanent until a broker has answered once.
//
// Run leaves no transaction open: it returns a *broker.LeftOpenError if one may be, because the
// broker did not answer before Work was done.
func (s *Sessions) Run(ctx context.Context, session func(context.Context) error) error {
	err := s.run(ctx, session)
	if s.left == nil || broker.IsFenced(err) { // the process that fenced this one has ended the transaction
		return err
	}
	return errors.Join(err, broker.EndOpen(s.Work, s.Broker, s.begun, s.left))
}

func (s *Sessions) run(ctx context.Context, session func(context.Context) error) error {
	wait := retry.Backoff()
	for {
		before := s.commits
		err := session(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		if s.permanent(err) {
			return err
		}
		if s.commits > before {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		if s.OnRetry != nil {
			s.OnRetry(err)
		}
		s.Logger.Warn("restarting session", "err", err, "in", pause.Round(time.Millisecond))
		if retry.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}

func (s *Sessions) permanent(err error) bool {
	var unreachable *broker.UnreachableError
	var settings *settingsError
	var mixed *broker.MixedError
	return errors.As(err, &settings) || errors.As(err, &mixed) || errors.As(err, &unreachable) && !s.reached || s.Permanent(err)
}

// Reached notes that a broker has answered: from now on one that is unreachable is waited for.
func (s *Sessions) Reached() { s.reached = true }

// Acquire acquires the transactional id of a session's client: the broker aborts what an earlier
// session or process left open. topics are all that the client writes to. An earlier transaction
// that hangs on one of them is finished as it ended elsewhere; if that is not possible, the error
// is a *broker.StillOpenError, and retrying waits until somebody has finished it.
func (s *Sessions) Acquire(ctx context.Context, client *kgo.Client, topics ...string) error {
	breaks := s.hanging.breaks.Count()
	unchecked, err := broker.Acquire(ctx, client, s.Logger, topics...)
	var open *broker.StillOpenError
	if err == nil || errors.As(err, &open) {
		s.reached, s.left = true, nil
	}
	if err != nil {
		return err
	}
	s.hanging.topics, s.hanging.ended = topics, nil
	s.checked(breaks, unchecked)
	return nil
}

// Begun notes the transaction that a client has just begun, and in which it has written nothing.
// ctx limits the requests that this takes if the client's last one failed, or if a connection has
// ended meanwhile: then the transaction before may hang, as with Acquire.
func (s *Sessions) Begun(ctx context.Context, client *kgo.Client) error {
	begun, err := broker.BegunBy(ctx, client)
	s.begun = begun
	if err != nil || !s.mayHang() {
		return err
	}
	if err := broker.AwaitMarkers(ctx, client); err != nil {
		return err
	}
	breaks := s.hanging.breaks.Count()
	unchecked, err := broker.FinishStillOpen(ctx, client, s.Logger, s.hanging.topics...)
	if err == nil {
		s.checked(breaks, unchecked)
	}
	return err
}

// LeftOpen notes that the session may have left its transaction open, and why. A nil error means
// that it has not.
func (s *Sessions) LeftOpen(err error) { s.left = err }

// Committed counts a committed transaction. The wait for the session after one with commits is
// short.
func (s *Sessions) Committed() { s.commits++ }

// Commits returns how many transactions were committed.
func (s *Sessions) Commits() int { return s.commits }
