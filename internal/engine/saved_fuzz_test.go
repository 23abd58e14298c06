package engine

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/state"
)

// FuzzLedger restores a record of a changelog, or of the positions topic, that another version, or
// somebody else, has written: it is refused by name, or has positions that are written back
// unchanged.
func FuzzLedger(f *testing.F) {
	newLedger := func() *ledger {
		return &ledger{store: state.Memory(), topic: "p.positions", partition: 3, fingerprint: "abc"}
	}
	seed := newLedger()
	if err := seed.write("p", map[string]position{"in": {ID: "AAAAAAAAAAAAAAAAAAAAAQ", Partitions: 4, Next: 7, End: 9}}); err != nil {
		f.Fatal(err)
	}
	for _, r := range seed.records(func(*kgo.Record) {}) {
		f.Add(r.Key, r.Value)
		for _, other := range []string{``, `null`, `{}`, `7`, `{"version":1}`, `{"version":2,"next":-1}`, `{"version":1,"id":"x","partitions":4}`, `{"version":1,"id":"x","partitions":0,"next":1}`,
			`{"version":0,"pipeline":"p"}`, `{"version":1,"id":"x","partitions":4,"next":-1}`} {
			f.Add(r.Key, []byte(other))
		}
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		l := newLedger()
		if value == nil {
			value = []byte{}
		}
		if l.store.Restore(key, value) != nil {
			return
		}
		if err := l.store.Restored(1); err != nil {
			t.Fatal(err)
		}
		head, positions, err := l.read()
		if err != nil {
			var newer *newerError
			if !errors.As(err, &newer) && !strings.Contains(err.Error(), "p.positions-3") && !strings.Contains(err.Error(), "--reset") {
				t.Fatalf("%q = %q: %v", key, value, err)
			}
			return
		}
		if head != nil && (head.Version != positionVersion || !strings.Contains(string(value), "pipeline")) {
			t.Fatalf("%q is taken for the header %+v", value, head)
		}
		for topic, p := range positions {
			if p.Version != positionVersion || p.Next < 0 || p.Partitions < 1 || !strings.Contains(string(value), "next") {
				t.Fatalf("%q is taken for the position %+v", value, p)
			}
			again := newLedger()
			if err := again.write("p", map[string]position{topic: p}); err != nil {
				t.Fatal(err)
			}
			_, back, err := again.read()
			if diff := cmp.Diff(map[string]position{topic: p}, back); err != nil || diff != "" {
				t.Fatalf("%v (-read +written and read)\n%s", err, diff)
			}
		}
	})
}

// FuzzAttempt reads a note of records at which a process may have died: what it says never makes
// the limit negative, and is noted again unchanged.
func FuzzAttempt(f *testing.F) {
	for _, a := range []attempt{{ID: "x", First: -1}, {ID: "x", First: 3, End: 9, Records: 6, Running: true, Deaths: 2}, {ID: "x", First: 3, End: 4, Records: 1, Running: true, Computing: true, Deaths: 5, Limit: 1, Until: 9, Blamed: 1}} {
		text, err := json.Marshal(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`null`))
	f.Add([]byte(`{"id":"x","running":true,"records":-9223372036854775808,"deaths":9223372036854775807,"limit":-5}`))
	f.Add([]byte(`{"id":"x","first":3,"running":true,"blamed":2,"records":1}`))
	tp := topicPartition{"in", 0}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		newAttempts := func() *attempts {
			return &attempts{dir: dir, open: make(map[topicPartition]*attempt), proven: make(map[topicPartition]bool)}
		}
		a := newAttempts()
		if err := os.WriteFile(filepath.Join(dir, "in-0.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		a.assigned(tp, "x")
		if a.limit() < 0 {
			t.Fatalf("%q limits transactions to %d records", text, a.limit())
		}
		poison, err := a.begin(tp, []*kgo.Record{{Topic: "in", Offset: 3}, {Topic: "in", Offset: 4}})
		if poison && !strings.Contains(strings.ToLower(string(text)), "blamed") {
			t.Fatalf("%q makes a record a dead letter", text)
		}
		if poison || err != nil {
			return
		}
		want := *a.open[tp]
		b := newAttempts()
		b.assigned(tp, "x")
		want.died()
		if diff := cmp.Diff(want, *b.open[tp]); diff != "" {
			t.Fatalf("%q (-noted +read)\n%s", text, diff)
		}
	})
}
