package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"weir.example/weir/internal/audit"
)

// The checker finds the copies of a stopped pipeline equal to their changelogs, skips them while it
// runs, and names an entry that was changed.
func TestLocalCopiesVerified(t *testing.T) {
	at, dir := cluster(t, 40), filepath.Join(t.TempDir(), "state")
	verify := func() (*audit.Report, string) {
		t.Helper()
		r, err := audit.Verify(t.Context(), audit.Config{Broker: at, Copies: audit.CopyConfig{Dir: dir, Pipeline: "counted", Alone: true}})
		if err != nil {
			t.Fatal(err)
		}
		text := new(strings.Builder)
		if err := r.WriteText(text); err != nil {
			t.Fatal(err)
		}
		return r, text.String()
	}
	for round := range 2 { // the second one continues with the copies of the first
		cfg, log := copiesConfig(t, at, dir)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := Run(ctx, cfg)
			ended <- err
		}()
		var r *audit.Report
		for text := ""; r == nil || r.Copies == nil || len(r.Copies.Skipped) < 2; {
			if ctx.Err() != nil {
				t.Fatalf("round %d: no copies in use\n%s\n%s", round, text, log)
			}
			if matches, _ := filepath.Glob(filepath.Join(dir, "counted", "*", "*", "db")); len(matches) > 1 {
				r, text = verify()
			}
		}
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(counts(t, at, "counts")["s0"], `"n":`+[]string{"20", "40"}[round]+"}"); {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: %v\n%s", round, counts(t, at, "counts"), log)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		r, text := verify()
		if !r.Clean() || r.Copies.Checked < 2 || len(r.Copies.Skipped) > 0 || r.Copies.NotJudged > 0 || r.Copies.Entries < 6 {
			t.Fatalf("round %d: %+v\n%s\n%s", round, r.Copies, text, log)
		}
		send(t, at, 40)
	}

	copies, err := filepath.Glob(filepath.Join(dir, "counted", "*", "*", "db"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(copies, func(dir string) bool { return spoilEntry(t, dir) }) {
		t.Fatalf("no copy has an entry of an operator: %v", copies)
	}
	if r, text := verify(); r.Clean() || r.Copies.Different != 1 || !strings.Contains(text, "C9 entry differs from the changelog: counted/stage") {
		t.Errorf("%+v\n%s", r.Copies, text)
	}
}

// spoilEntry changes the value of the first entry of an operator; false if there is none.
func spoilEntry(t *testing.T, dir string) bool {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{DisableWAL: true, FormatMajorVersion: pebble.FormatNewest, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{0, 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	if !it.First() {
		return false
	}
	if err := db.Set(it.Key(), append(it.Value(), 1), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	return true
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}

func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
