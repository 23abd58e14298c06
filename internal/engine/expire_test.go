package engine

import (
	"sync"
	"testing"
	"time"

	"weir.example/weir/internal/txtest"
)

// The state of partitions without rows expires, and the changelog and the local copy lose it.
func TestStateExpiresWithoutRows(t *testing.T) {
	t.Parallel()
	s := newScript(t, "SET 'table.exec.state.ttl' = '1 h';"+counting)
	s.copies = t.TempDir()
	var mu sync.Mutex
	now := time.Now()
	read, expired := make(chan int, 100), make(chan int, 100)
	watch := func(c *Config) {
		c.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
		c.OnCommit = func(done Commit) {
			if done.Records > 0 {
				read <- done.Records
			}
			if done.Expired > 0 {
				expired <- done.Expired
			}
		}
	}
	atLeast := func(what string, n int, counts chan int) {
		t.Helper()
		for n > 0 {
			select {
			case c := <-counts:
				n -= c
			case <-time.After(txtest.Patience):
				t.Fatalf("%d %s are missing", n, what)
			}
		}
	}
	s.start("a", watch)
	s.send(12)
	atLeast("readings", 12, read)
	mu.Lock()
	now = now.Add(2 * time.Hour)
	mu.Unlock()
	atLeast("expired keys", scriptPartitions, expired)
	s.stop("a")
}
