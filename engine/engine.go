// Package engine runs processing over Kafka exactly once: what it reads, what it writes, its state, its
// dead letters and its offsets are one transaction (KIP-98, KIP-447).
//
//	loop.go   the consume-process-produce loop: sessions, transactions, restore, retries
//	task.go   what the loop asks of a processing: a Task for each input partition
//	stats.go  the processing of weir consume: running statistics of each sensor of each device
//	slot.go   transactional ids that are stable for each process of a group
package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir/broker"
)

// LoopConfig says what a loop reads and how it commits.
type LoopConfig struct {
	Broker broker.Config

	Topic     string // input
	Changelog string // compacted topic of the state, as many partitions as Topic
	DLQ       string // dead-letter topic
	Group     string // consumer group; processes of one group share the partitions

	// Instance makes the transactional id of this process: stable over its restarts, different from every
	// other live process of the group.
	Instance string

	CommitInterval     time.Duration // default 100 ms
	MaxRecords         int           // in one transaction; default 50,000
	TransactionTimeout time.Duration // after which the broker aborts for a dead process; default 15 s
	SessionTimeout     time.Duration // after which the group gives a dead process's partitions away; default 10 s
	Compression        string        // none, gzip, snappy, lz4, zstd; default lz4
	UntilEnd           bool          // stop when the input is processed up to where it ended at the start
	IdleTimeout        time.Duration // stop after so long without a record; default never

	Logger   *slog.Logger
	OnCommit func(Commit) // called after each commit; must be quick
	Now      func() time.Time
}

// Commit is what one committed transaction did.
type Commit struct {
	Records     int // read
	Outputs     int // written: results and state
	DeadLetters int
	Late        int
	Took        time.Duration   // from its first record to the answer of the broker
	Latencies   []time.Duration // from a record's timestamp to the commit, for a sample of the records
}

// Result sums up a run.
type Result struct {
	Records      int64 `json:"records"`
	Outputs      int64 `json:"outputs"`
	DeadLetters  int64 `json:"dead_letters"`
	Late         int64 `json:"late"`
	Transactions int64 `json:"transactions"`
	Aborted      int64 `json:"aborted"`
	Sessions     int64 `json:"sessions"` // 1 more than the times it had to start anew
}

func (c *LoopConfig) setDefaults() {
	if c.CommitInterval == 0 {
		c.CommitInterval = 100 * time.Millisecond
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = 50_000
	}
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = 15 * time.Second
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnCommit == nil {
		c.OnCommit = func(Commit) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// Validate reports the first setting that can't work.
func (c *LoopConfig) Validate() error {
	for name, value := range map[string]string{
		"topic": c.Topic, "changelog": c.Changelog, "dead-letter topic": c.DLQ, "group": c.Group, "instance": c.Instance,
	} {
		if value == "" {
			return fmt.Errorf("no %s is set", name)
		}
	}
	if c.CommitInterval < 0 || c.CommitInterval >= c.TransactionTimeout && c.TransactionTimeout > 0 {
		return errors.New("the commit interval must be shorter than the transaction timeout")
	}
	return c.Broker.Validate()
}
