package spool

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// With AckCommitted, nothing is acknowledged before Kafka has it: neither an entry nor its repeats,
// also after a restart. The order is that of the appends.
func TestAckCommitted(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), AckCommitted: true}
	var mu sync.Mutex
	var acked []string
	var s *Spool
	add := func(name string) {
		e := &Entry{Key: name, Readings: []reading.Reading{{DeviceID: "d", Sensor: "s"}}}
		s.Append(e, func(r Receipt, err error) {
			mu.Lock()
			defer mu.Unlock()
			acked = append(acked, fmt.Sprint(name, " ", r.Repeated, " ", err))
		})
	}
	check := func(want ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(acked, want) {
			t.Errorf("acknowledged %q, want %q", acked, want)
		}
		acked = nil
	}
	// read reads n items, and waits until that many entries wait for Kafka.
	read := func(src *Source, n, waiting int) []byte {
		t.Helper()
		items := make([]source.Item, n)
		for got := 0; got < n; {
			m, err := src.Next(items[got:])
			if err != nil {
				t.Fatal(err)
			}
			got += m
		}
		for s.Stats().Waiting != waiting {
			time.Sleep(time.Millisecond)
		}
		return src.Position()
	}
	open := func() *Source {
		t.Helper()
		var err error
		if s, err = Open(cfg); err != nil {
			t.Fatal(err)
		}
		return s.Source()
	}

	src := open()
	start := src.Position()
	if err := src.Seek(start); err != nil {
		t.Fatal(err)
	}
	add("a")
	first := read(src, 1, 1) // durable, and not committed
	add("a")
	add("b")
	second := read(src, 1, 3)
	check()
	s.Committed(first)
	check("a false <nil>", "a true <nil>")
	add("c")
	read(src, 1, 2)
	s.Committed(second)
	check("b false <nil>")
	add("b") // is committed, but c before it is not
	check()
	src.close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	uncommitted := ErrUncommitted.Error()
	check("c false "+uncommitted, "b false "+uncommitted)
	if !errors.Is(ErrUncommitted, ErrClosed) {
		t.Error("ErrUncommitted is no ErrClosed")
	}

	src = open()
	add("c") // its repeat waits as well
	check()
	if err := src.Seek(second); err != nil {
		t.Fatal(err)
	}
	check()
	s.Committed(read(src, 1, 1))
	check("c true <nil>")
	s.GiveUp()
	add("d")
	read(src, 1, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("d false " + uncommitted)
	src.close()
}
