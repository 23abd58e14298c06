// Package embedded is a schema registry inside the process, with the REST API of Confluent's.
//
// Read in this order:
//
//	embedded.go  Open, Close: the topic read back, then the port opened
//	register.go  what a registration and a deletion have to pass
//	canon.go     which texts are the same schema
//	state.go     what is registered, made of the topic's records
//	record.go    the records of _schemas, in the format of Confluent's registry
//	log.go       the topic: one transaction a change, read back after a failure
//	http.go      the paths; answer.go: errors and their codes
//	metrics.go   requests by route, for Prometheus
//
// # What is promised
//
// A change is answered only after its transaction on the compacted topic _schemas is committed. All
// changes go through one lock: decide on the state, write, apply. Where a write's outcome is
// unknown, the next change first takes the transactional id again, which ends the old transaction,
// and reads the topic anew. So nothing that was acknowledged is lost, and an id stands for one
// schema for good: the highest id ever given is kept even when its schema is deleted for good and
// compacted away.
//
// The topic can be handed to a registry of Confluent's, and taken over from one.
//
// # What it is not
//
// One process, no followers, no authentication: it listens on the loopback interface for
// development and the edge. Contexts and data contract rules are not there: rules are kept and
// given back, not executed.
package embedded
