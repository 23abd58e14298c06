package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// ticker shows the progress of a command without a known end: on a terminal, one line that is
// overwritten.
type ticker struct {
	w    io.Writer
	verb string
	live bool
	quit chan struct{}
	done sync.WaitGroup

	mu          sync.Mutex
	records     int64
	deadLetters int64
}

func newTicker(w io.Writer, verb, where string) *ticker {
	t := &ticker{w: w, verb: verb, live: isTerminal(w), quit: make(chan struct{})}
	fmt.Fprintf(w, "%s\n", where)
	if t.live {
		t.done.Go(t.run)
	}
	return t
}

func (t *ticker) add(records, deadLetters int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.records += int64(records)
	t.deadLetters += int64(deadLetters)
}

func (t *ticker) run() {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last, before := time.Now(), int64(0)
	for {
		select {
		case <-t.quit:
			fmt.Fprint(t.w, "\r\x1b[2K")
			return
		case now := <-tick.C:
			t.mu.Lock()
			records, deadLetters := t.records, t.deadLetters
			t.mu.Unlock()
			rate := float64(records-before) / now.Sub(last).Seconds()
			last, before = now, records
			fmt.Fprintf(t.w, "\r\x1b[2K%s %s   %s/s   dead letters %s", t.verb, count(records), count(int64(rate)), count(deadLetters))
		}
	}
}

func (t *ticker) stop() {
	close(t.quit)
	t.done.Wait()
}
