// Package front protects the embedded broker from what arrives on its port. kfake, a library made
// for tests, ends the process on an unknown API key, allocates whatever size a frame claims and
// loops over whatever count it claims.
//
// Wrap decorates the listener that kfake accepts from, without a proxy or further goroutines: Read
// returns only requests that are complete and well-formed, and Write receives complete answers.
//
// Read in this order:
//
//	front.go      Wrap and Accept: connections in all and per address
//	limits.go     what clients may use at most
//	conn.go       one connection: reads, checks and hands over frames, writes answers
//	login.go      TLS and SASL: who the client is
//	frame.go      the checks of one request, and what is changed in it
//	walk.go       follows a request's form over its bytes: bounds lengths, counts and nesting
//	form.go       the forms of the requests, compiled from the table in requests.go
//	requests.go   generated from Kafka's message definitions by gen/
//	checks.go     requests that kfake would accept, and Kafka refuses
//	control.go    registers checks with kfake
//	deeds.go      reports logins and changes for the audit trail
//	answers.go    answers that differ from Kafka's
//	budget.go     memory of requests and answers, over all connections
//	holders.go    which connections make room when that memory is used up
//	batches.go    batches that would take too much memory when they are decompressed
//	buffers.go    reused read buffers
//	refusals.go   why connections and requests were refused: counts and log lines
//
// # What kfake relies on
//
// kfake reads each connection in one goroutine and writes its answers in another: a request is read
// while the one before it is processed, answers are written in the order of the requests, each in
// one Write. It parses requests with kmsg, which accepts all that the walker accepts; a test
// compares the two.
//
// A panic in kfake's own goroutines cannot be caught here. The checks make those of its parser
// unreachable, and the fuzz test looks for others.
package front
