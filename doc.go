// Package weir runs streaming SQL over Kafka, exactly once, inside a Go program.
//
// A pipeline is a script in Apache Flink's SQL dialect: tables over topics, and one or more
// INSERTs. [Compile] checks and plans it; [Pipeline.Run] executes it until its context is done or
// its sources end. Records read, rows written, state, dead letters and offsets are committed in one
// Kafka transaction, so a process may be killed and restarted at any moment.
//
//	p, err := weir.Compile(sql)
//	if err != nil {
//		return err // a *weir.SyntaxError has the line, the column and a hint
//	}
//	result, err := p.Run(ctx, weir.Options{Brokers: []string{"kafka-1:9092"}})
//
// Without Kafka, Options.DataDir runs the pipeline on Weir's embedded broker, as weir run does.
// [OpenBroker] keeps that broker open for as long as the program needs it, so that the program's
// own Kafka clients can use it too.
//
// [Classify] divides the errors of Run by the reaction they call for. [Test] runs a pipeline's
// tests without a broker.
//
//	weir.go     Compile, Pipeline and Run
//	options.go  Options, and how they select brokers
//	broker.go   the embedded broker
//	status.go   Result, and Status of a running pipeline
//	errors.go   errors and their classes
//	test.go     tests of pipelines
package weir
