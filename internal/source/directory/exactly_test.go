package directory

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/interrupt"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/txtest"
)

const exactlyID = "weir-produce-watched"

var topics = []kfake.Opt{kfake.SeedTopics(3, "readings", "dlq"), kfake.SeedTopics(1, "progress")}

// sending is a directory that a producer sends to a broker.
type sending struct {
	*testing.T
	dir    string
	broker broker.Config
	want   map[string]int // "boot/seq/value" → 1 for each reading of all files
	max    int            // records per transaction
	armed  func()         // called when the producer starts
	ended  func()         // called when it has sent all files

	mu    sync.Mutex
	clock time.Time
}

func newSending(t *testing.T, at broker.Config) *sending {
	t.Helper()
	return &sending{T: t, dir: t.TempDir(), broker: at, want: make(map[string]int), max: 7, armed: func() {}, ended: func() {}, clock: time.Unix(0, 0)}
}

// add puts a file into the directory as a whole.
func (s *sending) add(name string, values ...int) {
	s.Helper()
	tmp := filepath.Join(s.dir, name+".tmp")
	if err := os.WriteFile(tmp, []byte(rows(values...)), 0o600); err != nil {
		s.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(s.dir, name)); err != nil {
		s.Fatal(err)
	}
	for i, v := range values {
		s.want[fmt.Sprintf("watched/%s/%d/%d", name, i, v)]++
	}
}

// run produces until ctx is done, or until the given number of files is committed.
func (s *sending) run(ctx context.Context, files int64) error {
	s.Helper()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d, err := Open(Config{
		Dir: s.dir, Name: "watched",
		Now: func() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.clock },
		Pause: func(p time.Duration) {
			s.mu.Lock()
			s.clock = s.clock.Add(p)
			s.mu.Unlock()
			runtime.Gosched()
		},
	})
	if err != nil {
		return err
	}
	defer d.Close()
	ended := func(raw []byte) {
		if p, err := parsePosition(raw); err != nil || p.Files >= files {
			s.ended()
			stop()
		}
	}
	if _, _, at := s.committed(); at != nil {
		ended(at)
	}
	if ctx.Err() == nil {
		s.armed()
	}
	_, err = produce.Run(ctx, produce.Config{
		Broker: s.broker, Topic: "readings", DLQ: "dlq", Progress: "progress", MaxRecords: s.max,
		CommitInterval: 2 * time.Millisecond, TransactionTimeout: 2 * time.Second,
		OnCommit: func(c produce.Commit) { ended(c.Position) },
	}, produce.Named(d, "watched"))
	return err
}

// committed returns the committed readings, the files that are recorded as sent, and the position.
func (s *sending) committed() (got map[string]int, files map[string]bool, position []byte) {
	s.Helper()
	got, files = make(map[string]int), make(map[string]bool)
	err := broker.ReadAll(s.Context(), s.broker, "readings", nil, func(r *kgo.Record) error {
		var read struct {
			Boot  string `json:"boot"`
			Seq   int64  `json:"seq"`
			Value float64
		}
		err := json.Unmarshal(r.Value, &read)
		got[fmt.Sprintf("%s/%d/%v", read.Boot, read.Seq, read.Value)]++
		return err
	})
	if err == nil {
		err = broker.ReadAll(s.Context(), s.broker, "progress", nil, func(r *kgo.Record) error {
			if string(r.Key) != "source/watched" {
				files[string(r.Key)] = true
				return nil
			}
			var last struct{ Position json.RawMessage }
			err := json.Unmarshal(r.Value, &last)
			position = last.Position
			return err
		})
	}
	if err != nil {
		s.Fatal(err)
	}
	return got, files, position
}

// exactly checks that each reading of all files is committed once, and each file recorded.
func (s *sending) exactly(files int) {
	s.Helper()
	got, sent, _ := s.committed()
	for key, n := range s.want {
		if got[key] != n {
			s.Errorf("%s is committed %d times", key, got[key])
		}
	}
	for key, n := range got {
		if s.want[key] != n {
			s.Errorf("%s is committed %d times, but is in the files %d times", key, n, s.want[key])
		}
	}
	if len(sent) != files {
		s.Errorf("%d files are recorded as sent, want %d", len(sent), files)
	}
}

// A producer that is stopped at any request, even if its connection then breaks, between two files
// or in one, and restarted with more files, sends each reading once. Files that were sent are
// touched and removed meanwhile.
func TestExactlyOnceOverRestarts(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 8
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b := interrupt.New(t, topics...)
	b.CountAll()
	s := newSending(t, b.Config())
	s.ended = func() { b.After(1<<30, func() {}) }
	files, interrupted, value := 0, 0, 0
	for round := range rounds {
		for range max(rng.IntN(3), 1-files) { // a producer without any file would never commit
			values := make([]int, 1+rng.IntN(25))
			for i := range values {
				value++
				values[i] = value
			}
			s.add(fmt.Sprintf("%c%d.csv", 'a'+rune(rng.IntN(26)), files), values...)
			files++
		}
		s.max = 1 + rng.IntN(20)
		ctx, stop := context.WithCancel(t.Context())
		n, cut := 1+rng.IntN(60), rng.IntN(4)
		s.armed = func() {
			b.After(n, func() {
				b.Cut(cut)
				stop()
			})
		}
		err := s.run(ctx, int64(files))
		stop()
		b.After(1<<30, func() {})
		b.Cut(0)
		if err != nil {
			t.Fatalf("round %d, stopped at request %d, %d cut: %v", round, n, cut, err)
		}
		_, sent, _ := s.committed()
		if len(sent) < files {
			interrupted++
		}
		for key := range sent {
			path := filepath.Join(s.dir, key[len("fact/watched\x00"):])
			switch rng.IntN(10) {
			case 0:
				_ = os.Chtimes(path, time.Time{}, time.Now().Add(time.Duration(round)*time.Hour))
			case 1:
				_ = os.Remove(path)
			}
		}
	}
	if interrupted == 0 {
		t.Error("no run was stopped before its end: the test has tested nothing")
	}
	s.armed = func() {}
	if err := s.run(t.Context(), int64(files)); err != nil {
		t.Fatal(err)
	}
	s.exactly(files)
}

// A new producer knows the files that earlier ones have sent.
func TestScriptFilesRemembered(t *testing.T) {
	b := txtest.New(t, topics...)
	s := newSending(t, b.Config("produce"))
	for i, name := range []string{"b.csv", "a.csv", "c.csv"} {
		s.add(name, i, i+10)
		if err := s.run(t.Context(), int64(i+1)); err != nil {
			t.Fatal(err)
		}
		s.exactly(i + 1)
	}
}

// The outcome of the commit that completes a file is unknown: the log decides, about the readings
// and the file alike.
func TestScriptUnknownCommit(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "not": false} {
		for size, before := range map[int]int{1: 0, 7: 1, 8: 1, 40: 5} { // 7 records fill a transaction: the fact may come alone
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				t.Parallel()
				b := txtest.New(t, topics...)
				s := newSending(t, b.Config("produce"))
				values := make([]int, size)
				for i := range values {
					values[i] = i
				}
				s.add("a.csv", values...)
				s.add("b.csv", 5)
				held := b.Hold(txtest.Commit(exactlyID))
				done := make(chan error, 1)
				go func() { done <- s.run(t.Context(), 2) }()
				held.Await()
				for range before {
					next := b.Hold(txtest.Commit(exactlyID))
					held.Pass()
					held = next
					held.Await()
				}
				if committed {
					held.DoAndAnswer(kerr.UnknownServerError)
				} else {
					held.Answer(kerr.UnknownServerError)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				s.exactly(2)
			})
		}
	}
}
