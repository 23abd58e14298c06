package engine

import (
	"context"
	"errors"
	"time"
)

// pace limits the records that a transaction of a worker reads, so that it ends within the
// transaction timeout. For Config.MaxRecords of a backlog, that may be too short: if a join
// multiplies them, or if the broker or the machine is slow. Every attempt would then take as long
// as the last one, and fail.
type pace struct {
	limit   int
	most    int
	timeout time.Duration
}

func newPace(cfg *Config) pace {
	return pace{limit: cfg.MaxRecords, most: cfg.MaxRecords, timeout: cfg.TransactionTimeout}
}

// failed halves the limit if a transaction has failed because its time was up.
func (p *pace) failed(read int, took time.Duration, err error) {
	if took >= p.timeout || errors.Is(err, context.DeadlineExceeded) {
		p.limit = max(1, min(p.limit, read)/2)
	}
}

// committed doubles the limit if a transaction that reached it has left time for more.
func (p *pace) committed(read int, took time.Duration) {
	if read >= p.limit && took < p.timeout/4 {
		p.limit = min(2*p.limit, p.most)
	}
}

// commitShare is the most of a worker's time that it spends on committing a few rows at once.
const commitShare = 0.1

// commits decides when a transaction ends. Rows should not wait, so one with few rows ends early;
// but commits cost the same for one row as for thousands, so they take a share of the time at most,
// and one with a backlog lasts for Config.CommitInterval.
type commits struct {
	least, most time.Duration
	took        time.Duration // by recent commits, on average
}

func newCommits(cfg *Config) commits {
	return commits{least: cfg.CommitInterval / 10, most: cfg.CommitInterval}
}

// committed notes how long a commit took.
func (c *commits) committed(took time.Duration) {
	const of = 4
	c.took += (took - c.took) / of
}

// interval returns how long a transaction may last that has read so many records.
func (c *commits) interval(read int) time.Duration {
	if read >= leastPoll {
		return c.most
	}
	return min(c.most, max(c.least, time.Duration(float64(c.took)/commitShare)))
}
