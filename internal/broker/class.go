package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Class is what an error asks of whoever meets it.
type Class int

const (
	// Retry says that the same step may work later; wait with Backoff and build a new session where
	// the old one's transaction is in doubt.
	Retry Class = iota
	// Fatal says that nothing that we can do makes it work: another instance has taken over, a
	// permission is missing, or the broker can't do it. Stop and say so.
	Fatal
)

// String returns retry or fatal.
func (c Class) String() string {
	if c == Retry {
		return "retry"
	}
	return "fatal"
}

// fenced are the errors with which Kafka tells an old instance that a newer one has its place.
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

// refused are the errors of records and settings that the broker refuses each time. One that is too
// large is none of them: its topic's limit has changed since it was looked at, and a new session
// looks again (see FindLimits).
var refused = []error{kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.InvalidSessionTimeout}

// Classify says what err asks for. A nil error is a mistake of the caller's and counts as Retry. An
// error that is not known counts as Retry too: it can be shown to last, a lost reading can't be
// undone.
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

// IsFenced reports whether err says that a newer instance with the same transactional id, or the
// same group membership, has taken over (KIP-98, KIP-345).
func IsFenced(err error) bool { return isAny(err, fenced) }

func isAny(err error, set []error) bool {
	for _, e := range set {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
