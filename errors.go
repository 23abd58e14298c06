package weir

import (
	"errors"
	"fmt"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/sql"
)

// SyntaxError is an error at a position in a script.
type SyntaxError struct {
	Line, Column int // from 1; Column counts characters
	Message      string
	Hint         string // what to write instead; may be empty
	Snippet      string // the line, with a mark below it at the column
}

// Error returns the position, message and hint on one line.
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

// StateChangedError reports that the pipeline's state was created by different SQL, so that results
// would be wrong with this SQL. Run returns it before reading anything. Restore the old SQL, choose
// another name, or delete the state with weir run --reset.
type StateChangedError struct {
	Pipeline string
	Report   string // one line for each state that differs or could be kept
	err      error
}

// Error returns the report and the possible remedies, on several lines.
func (e *StateChangedError) Error() string {
	return fmt.Sprintf("pipeline %s: %v", e.Pipeline, e.err)
}

// Class is the class of an error, by how the caller should react.
type Class string

// Classes of errors.
const (
	// Refused means that the same call will keep failing until someone changes the SQL, an option,
	// a permission, or the state in Kafka. The error lists the remedies. Alert, and do not retry.
	Refused Class = "refused"
	// Fenced means that another process with the same Options.Instance has taken over. Do not
	// retry: the two would keep fencing each other.
	Fenced Class = "fenced"
	// Retryable means that the same call may succeed later, such as when a broker is reachable
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

// leftOpen reports whether err may have left a transaction open; the next run ends it.
func leftOpen(err error) bool {
	var open *broker.LeftOpenError
	return errors.As(err, &open)
}

// refusedError is an error of class Refused that has no type of its own.
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
