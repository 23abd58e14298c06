package deadletter

import "errors"

// Causes of dead letters. They are few and fixed, so that they can be counted by cause; the reason
// itself may quote a value.
const (
	Undecodable = "undecodable" // key or value is not what the format says
	Missing     = "missing"     // no value, or none for a column that needs one
	Computation = "computation" // an expression failed: a cast, a division by zero
	Unreadable  = "unreadable"  // a row of a source that is no reading
	Other       = "other"
)

// Causes are all that Cause returns.
var Causes = []string{Undecodable, Missing, Computation, Unreadable, Other}

// Because gives an error its cause.
func Because(cause string, err error) error { return &caused{cause, err} }

type caused struct {
	cause string
	err   error
}

func (c *caused) Error() string { return c.err.Error() }
func (c *caused) Unwrap() error { return c.err }

// Cause is the cause of a dead letter's reason.
func Cause(reason error) string {
	var c *caused
	if errors.As(reason, &c) {
		return c.cause
	}
	return Other
}
