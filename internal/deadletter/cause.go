package deadletter

import "errors"

// Causes of dead letters. The set is small and fixed, so that a cause can be a metric label, unlike
// the reason, which may quote a value.
const (
	Undecodable = "undecodable" // key or value is invalid in the table's format
	Missing     = "missing"     // no value, or none for a NOT NULL column
	Computation = "computation" // an expression failed: a cast, a division by zero
	Unreadable  = "unreadable"  // a row of a source that is not a valid reading
	Other       = "other"
)

// Causes lists all values that Cause returns.
var Causes = []string{Undecodable, Missing, Computation, Unreadable, Other}

// Because returns err with a cause.
func Because(cause string, err error) error { return &caused{cause, err} }

type caused struct {
	cause string
	err   error
}

func (c *caused) Error() string { return c.err.Error() }
func (c *caused) Unwrap() error { return c.err }

// Cause returns the cause of a dead letter's reason, Other if it has none.
func Cause(reason error) string {
	var c *caused
	if errors.As(reason, &c) {
		return c.cause
	}
	return Other
}
