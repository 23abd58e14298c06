package engine

import (
	"context"
	"errors"
	"time"

	"weir/broker"
)

// worker is one consumer of the group, with transactions of its own.
type worker struct {
	*pipeline
	instance  string
	result    *Result
	connected bool
}

func (w *worker) run(ctx context.Context) error {
	defer w.Status.phase(w.instance, Stopped, "")
	wait := broker.Backoff()
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
			return err
		}
		if w.result.Transactions > before {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		w.Status.phase(w.instance, Retrying, err.Error())
		w.Logger.Warn("start a new session", "err", err, "instance", w.instance, "in", pause.Round(time.Millisecond))
		if broker.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}

// fatalError is one that a new session would meet again: state or topics that are not the pipeline's.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }
