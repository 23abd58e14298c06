// Package clients contains only tests: other clients of Kafka's protocol on the embedded broker.
// What they must get from it is what real Kafka gives them.
//
//	served_test.go   the embedded broker in a process that can be killed, or real Kafka as a
//	                 control
//	admin_test.go    every call of Java's AdminClient, compared with real Kafka's answers
//	flink_test.go    a Flink job that copies exactly once while the broker is killed
//	streams_test.go  a Kafka Streams application with state, killed with the broker
//	secured_test.go  Kafka's own tools over TLS, with a login
//	connect_test.go  a standalone worker of Kafka Connect
//	scripts_test.go  libraries of other languages, and the table in docs/reference/clients.md
//	suite_test.go    franz-go's own integration tests
//	librdkafka_test.go
//	                 librdkafka's own tests
//	trailing_test.go requests with bytes after their last field
package clients
