package engine

import (
	"context"
	"errors"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// worker is one consumer of the group, with transactions of its own.
type worker struct {
	p        *pipeline
	grace    context.Context // of clients and transactions: a stop leaves them StopTimeout
	instance string
	result   *Result

	strangerSince time.Time // first answer that the group has another protocol

	connected bool
	left      error        // why the last session may have left its transaction open; nil where it has not
	begun     broker.Begun // that transaction
}

// run runs sessions until ctx is done, the pipeline has ended or an error is fatal, and leaves no
// transaction open.
func (w *worker) run(ctx context.Context) error {
	defer w.p.cfg.Status.phase(w.instance, Stopped, "")
	err := w.sessions(ctx)
	if w.left == nil || broker.IsFenced(err) { // who fences has ended it
		return err
	}
	return errors.Join(err, broker.EndOpen(w.grace, w.p.cfg.Broker, w.begun, w.left))
}

func (w *worker) sessions(ctx context.Context) error {
	wait := retry.Backoff()
	for {
		w.result.Sessions++
		before := w.result.Transactions
		err := w.session(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		var unreachable *broker.UnreachableError
		var broken *fatalError
		var grown *grownError
		if broker.Classify(err) == broker.Fatal || errors.As(err, &grown) || errors.As(err, &broken) || errors.As(err, &unreachable) && !w.connected {
			return w.explainFenced(err)
		}
		if w.result.Transactions > before {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		w.p.cfg.Status.phase(w.instance, Retrying, err.Error())
		w.p.cfg.Logger.Warn("start a new session", "err", err, "instance", w.instance, "in", pause.Round(time.Millisecond))
		if retry.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}

// fatalError is one that a new session would meet again: state or topics that are not the
// pipeline's.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }
