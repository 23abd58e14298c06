package weir

import (
	"errors"
	"fmt"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/sql"
)

// SyntaxError is an error at a position of a script.
type SyntaxError struct {
	Line, Column int // from 1; Column counts characters
	Message      string
	Hint         string // what to write instead; may be empty
	Snippet      string // the line, and below it a mark at the column
}

// Error returns position, message and hint on one line.
func (e *SyntaxError) Error() string {
	return (&sql.Error{Pos: sql.Pos{Line: e.Line, Column: e.Column}, Message: e.Message, Hint: e.Hint}).Error()
}

func compileError(text string, err error) error {
	var at *sql.Error
	if !errors.As(err, &at) {
		return refuse(err)
	}
	return &SyntaxError{Line: at.Line, Column: at.Column, Message: at.Message, Hint: at.Hint, Snippet: sql.Snippet(text, at.Pos)}
}

// StateChangedError reports that different SQL made the state of a pipeline, so that its rows would
// be wrong with this SQL. Run returns it before it reads anything. Restore the old SQL, choose
// another name, or delete the state with weir run --reset.
type StateChangedError struct {
	Pipeline string
	Report   string // a line for each state that differs, and for each that could be kept
	err      error
}

// Error returns the report and the ways forward, on several lines.
func (e *StateChangedError) Error() string {
	return fmt.Sprintf("pipeline %s: %v", e.Pipeline, e.err)
}

// Class divides errors by what they ask of the caller.
type Class string

// Classes of errors.
const (
	// Refused means that the same call fails again until a person changes the SQL, an option, a
	// permission, or the state in Kafka. The error names the ways forward. Alert, and do not retry.
	Refused Class = "refused"
	// Fenced means that another process with the same Options.Instance has taken over. Do not
	// retry: the two would keep fencing each other.
	Fenced Class = "fenced"
	// Retryable means that the same call may succeed later, for example when a broker is reachable
	// again. Retry with a backoff; nothing is lost or duplicated.
	Retryable Class = "retryable"
)

// Classify returns the class of an error of this package, and "" for nil.
func Classify(err error) Class {
	var syntax *SyntaxError
	var changed *StateChangedError
	var refused *refusedError
	var missing *engine.NoTopicError
	switch {
	case err == nil:
		return ""
	case broker.IsFenced(err):
		return Fenced
	case leftOpen(err), errors.As(err, &missing):
		return Retryable
	case errors.As(err, &syntax), errors.As(err, &changed), errors.As(err, &refused),
		engine.IsRefusal(err), broker.Classify(err) == broker.Fatal:
		return Refused
	}
	return Retryable
}

// leftOpen reports whether a transaction may be left open; the next run ends it.
func leftOpen(err error) bool {
	var open *broker.LeftOpenError
	return errors.As(err, &open)
}

// refusedError is an error of the class Refused that has no type of its own.
type refusedError struct{ err error }

func refuse(err error) error { return &refusedError{err} }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

var errNoDir = errors.New("no directory: set BrokerOptions.Dir")

func runError(pipeline string, err error) error {
	var changed *engine.ChangedError
	if errors.As(err, &changed) {
		return &StateChangedError{Pipeline: pipeline, Report: changed.Report, err: err}
	}
	return fmt.Errorf("pipeline %s: %w", pipeline, err)
}
