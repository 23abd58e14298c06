// Package embedded is a Kafka broker inside the process: franz-go's kfake on a data directory, with
// what it lacks to keep the promise of exactly once through kill -9.
//
// Read in this order:
//
//	embedded.go    Open, Join, Close: one broker a directory, held by a lock
//	journal.go     the write-ahead intent of each commit, which makes a transaction's end atomic
//	recover.go     after an unclean stop: finish what was decided to commit, abort all else
//	segment.go     the files that recovery reads and mends: segments, indexes, state logs
//	maintain.go    compaction and retention, on a schedule and safe against open transactions
//	compact.go     transactions whose markers a compaction has removed
//	fence.go       older producers of a transactional id, which kfake takes for the newer one
//	expire.go      members of groups that kfake expels too early or never
//	nameless.go    intents of earlier versions, without the names of topics
//	space.go       room on a full disk for the ends of transactions
//	windows.go     the last batches of each producer, so that a repeated one is dropped
//	sync_linux.go  syncfs(2); sync_other.go where there is none
//
// # Why a journal
//
// kfake ends a transaction by writing one control record a partition, then the group offsets, then
// the producer's new epoch. Killed between two of these, it would come back with a transaction that
// is committed on some partitions only; and transactions that were open are aborted in its memory
// but never on its disk, which hides the next transaction of the same producer. All requests are
// handled by one goroutine, so a fsynced record of the decision to commit, written before the first
// control record, is enough: at most the last decision can be unfinished, and everything without a
// decision was never acknowledged.
//
// # What stays open
//
// One broker, no replication: a lost disk is lost data. With Config.Sync off, a power failure may
// lose acknowledged transactions (a killed process does not); with it on, each commit waits for the
// disk.
package embedded
