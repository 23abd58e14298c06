package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/disktest"
	"weir.example/weir/internal/plan"
)

// logged records a pipeline's log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const copiesLost = "local copies of the state can't be kept"

func copiesConfig(t *testing.T, at broker.Config, dir string) (Config, *logged) {
	t.Helper()
	p, err := plan.Compile(counted, "counted")
	if err != nil {
		t.Fatal(err)
	}
	log := new(logged)
	return Config{
		Broker: at, Program: p, Instances: []string{"a", "b"}, CommitInterval: 20 * time.Millisecond, StateDir: dir, Status: NewStatus(p),
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}, log
}

// Without write access to --state-dir there are no local copies, and this is logged once.
func TestStateDirForbidden(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := cluster(t, 40)
	cfg, log := copiesConfig(t, at, filepath.Join(file, "state"))
	cfg.UntilEnd = true
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := Run(ctx, cfg)
	if err != nil || r.Records != 40 {
		t.Fatalf("%+v, %v\n%s", r, err, log)
	}
	wantCounts(t, at, 20)
	if n := log.count(copiesLost); n != 1 || !strings.Contains(cfg.Status.Snapshot().NoCopies, "not a directory") {
		t.Errorf("said %d times, status %q\n%s", n, cfg.Status.Snapshot().NoCopies, log)
	}
}

func wantCounts(t *testing.T, at broker.Config, n int) {
	t.Helper()
	got := counts(t, at, "counts")
	want := fmt.Sprintf(`"n":%d}`, n)
	if len(got) != 2 || !strings.HasSuffix(got["s0"], want) || !strings.HasSuffix(got["s1"], want) {
		t.Errorf("%v, want %s for each", got, want)
	}
}

// A disk that fills up under a running pipeline changes no rows, and prevents neither its end nor
// its next start.
func TestStateDirFull(t *testing.T) {
	dir := t.TempDir()
	disktest.Mount(t, dir, 24<<20)
	at := cluster(t, 40)
	for round := 1; round <= 2; round++ { // the second one starts on the full disk
		cfg, log := copiesConfig(t, at, filepath.Join(dir, "state"))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := Run(ctx, cfg)
			ended <- err
		}()
		reach := func(n int) {
			t.Helper()
			want := fmt.Sprintf(`"n":%d}`, n)
			eventually(t, fmt.Sprintf("round %d: %s", round, want), func() bool {
				if cfg.Status.Snapshot().P50 == 0 {
					return false
				}
				all := counts(t, at, "counts")
				return strings.Count(all["s0"]+all["s1"], want) == 2
			})
		}
		if round == 1 {
			reach(20)
			disktest.Fill(t, filepath.Join(dir, "ballast"))
		}
		send(t, at, 40)
		reach(20 + 20*round)
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("round %d does not end\n%s", round, log)
		}
		if n := log.count(copiesLost); n != 1 {
			t.Errorf("round %d: said %d times\n%s", round, n, log)
		}
		if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil { // frees the space of the copy
			t.Fatal(err)
		}
		disktest.Fill(t, filepath.Join(dir, fmt.Sprint("ballast", round)))
	}
}
