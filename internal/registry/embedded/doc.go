// Package embedded is an in-process schema registry with Confluent's REST API.
//
// Read in this order:
//
//	embedded.go       Open, Close: reads the topic back, then serves
//	register.go       the checks that a registration and a deletion must pass
//	canon.go          which texts are the same schema
//	state.go          the registered schemas, built from the topic's records
//	record.go         the records of _schemas, in the format of Confluent's registry
//	log.go            the topic: one transaction per change, read back after a failure
//	access.go         logins, and changes for the audit trail
//	http.go           routes, and how a request is handled
//	http_subjects.go  subjects and their versions; http_schemas.go: schemas by id
//	http_settings.go  compatibility levels and modes
//	answer.go         errors and their codes
//	metrics.go        requests by route, for Prometheus
//
// # Guarantees
//
// A change is acknowledged only after its transaction on the compacted topic _schemas has
// committed. All changes go through one lock: decide on the state, write, apply. If the outcome of
// a write is unknown, the next change first acquires the transactional id again, which ends the old
// transaction, and rereads the topic. So nothing that was acknowledged is lost, and an id refers to
// the same schema forever: the highest id ever assigned is kept even when its schema is permanently
// deleted and compacted away.
//
// The topic can be handed over to a Confluent registry or taken over from one.
//
// # Limits
//
// One process, no followers, no authentication: it listens on the loopback interface, for
// development and the edge. Contexts are not supported. Data contract rules are stored and
// returned, but not executed.
package embedded
