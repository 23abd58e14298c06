// Package broker is Weir's access to Kafka: connections, topics, open transactions, and the class
// of an error.
//
//	connect.go       configuration of a client, and the first contact with a broker
//	features.go      features that a cluster must have
//	class.go         whether to retry after an error, or to stop
//	partitioner.go   a partitioner that keeps the record's partition
//	compression.go   compression codecs by name
//	memory.go        what all clients of the process may hold in memory, and the process's limit
//	decompress.go    what a compressed batch may take in memory, and records that are withheld
//	limits.go        the record and batch sizes that topics accept
//	topics.go        declared topics; topic_plan.go: compare with the cluster, and apply
//	writes.go        records of one transaction that are being written
//	ending.go        end of a group session's transaction, with unknown outcomes reported
//	stop.go          end of transactions that a stop has interrupted
//	transactions.go  open and hanging transactions of a cluster
//	hanging.go       how hanging transactions ended elsewhere, and their end
//	stillopen.go     clients that must not write into a hanging transaction of their own
//	statelog.go      decisions in the log of the transaction coordinators
//	logs.go          batches as brokers store them
//	visible.go       wait until committed records can be read
//	readto.go        reads a topic up to its current end; tail.go: the last records
//	json.go          keys, values and headers of records in JSON
//	observe.go       client metrics and traces
//	log.go           the client's log lines
//
// The embedded broker is in broker/embedded.
package broker
