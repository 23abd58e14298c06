package broker

import (
	"context"
	"errors"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Class is how a caller should react to an error.
type Class int

const (
	// Retry means that the same step may succeed later: wait with retry.Backoff, and start a new
	// session if the outcome of the old one's transaction is unknown.
	Retry Class = iota
	// Fatal means that retrying cannot succeed: another instance has taken over, a permission is
	// missing, or the broker does not support the request. Stop and report it.
	Fatal
)

// String returns retry or fatal.
func (c Class) String() string {
	if c == Retry {
		return "retry"
	}
	return "fatal"
}

// fenced are the errors that Kafka returns to an instance that a newer one has replaced.
var fenced = []error{
	kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.FencedInstanceID, kerr.TransactionCoordinatorFenced,
}

// denied are the errors that only an administrator can resolve.
var denied = []error{
	kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
	kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed, kerr.SecurityDisabled,
	kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState, kerr.UnsupportedVersion, kerr.UnsupportedForMessageFormat,
	kerr.InvalidTransactionTimeout, kerr.InvalidTopicException, kerr.PolicyViolation,
}

// refused are errors about records and settings that the broker always rejects. MESSAGE_TOO_LARGE
// is not among them: the topic's limit has changed since it was read, and a new session reads it
// again (see FindLimits).
var refused = []error{kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.InvalidSessionTimeout}

// Classify returns the class of err. Unknown errors are Retry: a lasting error becomes visible in
// time, but a lost reading cannot be recovered. Passing nil is a caller bug.
func Classify(err error) Class {
	switch {
	case isAny(err, fenced), isAny(err, denied), isAny(err, refused):
		return Fatal
	case errors.Is(err, context.Canceled):
		return Fatal // the caller asked to stop
	default:
		return Retry
	}
}

// IsFenced reports whether err means that a newer instance with the same transactional id or group
// membership has taken over (KIP-98, KIP-345).
func IsFenced(err error) bool { return isAny(err, fenced) }

// IsPassing reports whether err is one of a broker that can't be reached, or asks to try again.
// That includes a connection that is closed at once: by a broker that is stopping, or a proxy
// without one. TLS on one side only looks the same, and the error says so.
func IsPassing(err error) bool {
	return kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err) || errors.As(err, new(*kgo.ErrFirstReadEOF)) ||
		errors.As(err, new(*net.OpError)) || errors.As(err, new(*UnreachableError))
}

func isAny(err error, set []error) bool {
	for _, e := range set {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
