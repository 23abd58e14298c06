// Package embedded is a Kafka broker inside the process: franz-go's kfake on a data directory, plus
// what kfake lacks to stay exactly-once through kill -9.
//
// Read in this order:
//
//	embedded.go    Open, Join, Close: one broker per directory, held by a lock
//	listen.go      addresses: where the broker listens, and what it announces to clients
//	hold.go        with Config.Sync, answers wait for the disk
//	journal.go     what clients do to transactions, written before the broker does it
//	hooks.go       the handlers that write it
//	recover.go     after an unclean stop: complete what was decided, restore what is open
//	snapshot.go    the files from which kfake loads open transactions
//	segment.go     the files that recovery reads and repairs: segments, indexes, state logs
//	files.go       writes to files
//	maintain.go    compaction and retention on a schedule
//	retention.go   deletes expired segments by Kafka's rules instead of kfake's
//	gate.go        holds writers back while no transaction may be open
//	links.go       hard links that undo a compaction cut short by a kill
//	floors.go      offsets of partitions that have lost all their segments
//	compact.go     transactions whose markers a compaction has removed
//	fence.go       older producers of a transactional id, which kfake mistakes for the newer one
//	expire.go      group members that kfake expels too early or never
//	admin.go       administrative requests that kfake answers unlike Kafka
//	access.go      what the client of a request may do; Kafka's API of ACLs
//	acl.go         entries and filters of ACLs
//	users.go       Kafka's API of SCRAM users
//	producers.go   kfake's producers, in memory
//	slots.go       the journal of earlier versions
//	log.go         kfake's messages; stops the process when a write has failed that kfake ignores
//	space.go       disk space reserved for the ends of transactions
//	storage.go     the cap on stored bytes; metrics.go for Prometheus
//	profile.go     profiles of machines: caps and sizes
//	lean.go        limits the memory of a start
//	private.go     modes of files: the owner's only
//	windows.go     the last batches of each producer, so that duplicates are dropped
//	sync_linux.go  syncfs(2); sync_other.go for other systems
//
// # Why a journal
//
// kfake ends a transaction by writing one control record per partition, then the group offsets,
// then the producer's new epoch. A kill between two of these would leave the transaction committed
// on some partitions only. Open transactions, on the other hand, are in its memory, except for
// their records: after a kill, kfake aborts them, and a client that has prepared one cannot commit
// it any more.
//
// All requests are handled by one goroutine. A record of the decision to commit or abort, written
// before the first control record, is therefore enough: at most the last decision can be
// incomplete. Timeouts have no request, but raise the epoch before the first control record.
//
// # Limits
//
// There is one broker and no replication: a lost disk is lost data. With Config.Sync off, a power
// failure may lose acknowledged transactions (a killed process does not lose any); with it on, each
// acknowledgement waits for the disk. Members of groups join again after a kill.
package embedded
