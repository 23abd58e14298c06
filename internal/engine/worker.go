package engine

import (
	"context"
	"errors"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/transact"
)

// worker is one consumer of the group, with its own transactional id.
type worker struct {
	p        *pipeline
	sessions *transact.Sessions
	instance string
	result   *Result
	pace     pace

	conflictSince time.Time // when the group first answered that it has another protocol
}

// run runs sessions until ctx is done, the pipeline has ended or an error is permanent, and leaves
// no transaction open.
func (w *worker) run(ctx context.Context) error {
	defer w.p.cfg.Status.phase(w.instance, Stopped, "")
	return w.sessions.Run(ctx, func(ctx context.Context) error {
		w.result.Sessions++
		return w.explainFenced(w.session(ctx))
	})
}

// newWorker creates the worker of an instance. work is the context of its clients and transactions.
func (p *pipeline) newWorker(work context.Context, instance string, result *Result) *worker {
	return &worker{p: p, instance: instance, result: result, pace: newPace(&p.cfg), sessions: &transact.Sessions{
		Broker: p.cfg.Broker.Withholding(), Logger: p.cfg.Logger.With("instance", instance), Work: work,
		Permanent: permanent,
		OnRetry:   func(err error) { p.cfg.Status.phase(instance, Retrying, err.Error()) },
	}}
}

// permanent reports whether a new session would fail in the same way, or whether the pipeline has
// to be prepared again before it.
func permanent(err error) bool {
	var fatal *fatalError
	var grown *grownError
	var matched *matchedError
	return errors.As(err, &fatal) || errors.As(err, &grown) || errors.As(err, &matched) || broker.Classify(err) == broker.Fatal
}

// fatalError is an error that a new session would meet again, for example state that does not match
// the topics.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }
