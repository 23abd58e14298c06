package engine

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/txtest"
)

// A broker that can't take the rows of a whole backlog within the transaction timeout gets them in
// smaller transactions.
func TestTransactionsThatTakeTooLongBecomeSmaller(t *testing.T) {
	t.Parallel()
	s := newScript(t, counting)
	s.send(60)
	slow := s.broker.Cut(func(_ *txtest.Broker, req kmsg.Request) bool { return rowsIn(req) > 30 })
	s.start("a", func(c *Config) { c.MaxRecords, c.TransactionTimeout = 1000, time.Second })
	s.processed()
	slow.Stop()
	s.send(200)
	s.processed()
	s.finish()
}

// rowsIn returns the number of records in a request.
func rowsIn(req kmsg.Request) (n int32) {
	produce, ok := req.(*kmsg.ProduceRequest)
	if !ok {
		return 0
	}
	for _, t := range produce.Topics {
		for _, p := range t.Partitions {
			var batch kmsg.RecordBatch
			if err := batch.ReadFrom(p.Records); err == nil {
				n += batch.NumRecords
			}
		}
	}
	return n
}

func TestPace(t *testing.T) {
	p := newPace(&Config{MaxRecords: 1000, TransactionTimeout: 8 * time.Second})
	want := func(limit int) {
		t.Helper()
		if p.limit != limit {
			t.Errorf("the limit is %d, want %d", p.limit, limit)
		}
	}
	p.failed(700, time.Second, context.Canceled) // for another reason
	want(1000)
	p.failed(700, 9*time.Second, context.DeadlineExceeded)
	want(350)
	p.failed(350, 8*time.Second, context.Canceled) // its time was up when something else failed
	want(175)
	p.committed(100, time.Second) // nothing more to read
	want(175)
	p.committed(175, 3*time.Second) // twice as many might not fit
	want(175)
	p.committed(175, time.Second)
	want(350)
	for range 5 {
		p.committed(p.limit, time.Millisecond)
	}
	want(1000)
	for range 20 {
		p.failed(p.limit, 9*time.Second, context.DeadlineExceeded)
	}
	want(1)
}

func TestCommits(t *testing.T) {
	c := newCommits(&Config{CommitInterval: 100 * time.Millisecond})
	want := func(read int, interval time.Duration) {
		t.Helper()
		if got := c.interval(read).Round(time.Millisecond); got != interval*time.Millisecond {
			t.Errorf("after %d records, at %s for each commit: %s, want %d ms", read, c.took, got, interval)
		}
	}
	take := func(took time.Duration) {
		for range 50 {
			c.committed(took)
		}
	}
	want(0, 10)
	want(leastPoll-1, 10)
	want(leastPoll, 100) // a backlog
	take(500 * time.Microsecond)
	want(1, 10)
	take(5 * time.Millisecond)
	want(1, 50)
	take(80 * time.Millisecond) // on a slow disk
	want(1, 100)
	c.committed(0)
	want(1, 100)
	take(time.Millisecond) // it has become faster
	want(1, 10)
}
