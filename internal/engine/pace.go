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
