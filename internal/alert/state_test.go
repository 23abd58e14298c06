package alert

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kgo"
)

// FuzzState reads a record of the state topic: it is refused with its key, or is an alert with that
// id, written back unchanged, or a silence of that id that does not silence everything.
func FuzzState(f *testing.F) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a := &Alert{ID: "a1", Status: Firing, Name: "p", Severity: "critical", Labels: map[string]string{"device": "d"}, Since: at, Origin: Origin{"alerts", 2, "k"}, Seen: at, Changed: at,
		Sent: map[string]Sent{"ops": {Firing, at, 1}}, Failing: map[string]Failing{"mail": {at, at, 3, "refused"}}}
	r, err := a.record("weir.alerts")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(r.Key), r.Value)
	silence := `{"id":"s1","match":{"device":"d"},"from":"2026-01-02T03:04:05Z","until":"2026-01-03T03:04:05Z"}`
	f.Add("silence/s1", []byte(silence))
	for _, key := range []string{"alert/a1", "silence/s1", "other"} {
		for _, other := range []string{``, `null`, `{}`, `7`, silence, strings.Replace(silence, `"device":"d"`, ``, 1), strings.Replace(silence, `2026-01-03`, `0001-01-01`, 1), strings.Replace(silence, `s1`, `s2`, 1), string(r.Value)} {
			f.Add(key, []byte(other))
		}
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		r := &kgo.Record{Topic: "weir.alerts", Key: []byte(key), Value: value}
		if r.Value == nil {
			r.Value = []byte{}
		}
		refused := func(err error) {
			t.Helper()
			if !strings.Contains(err.Error(), "weir.alerts at offset 0") || !strings.Contains(err.Error(), "without a value") {
				t.Fatalf("%q = %q: %v", key, value, err)
			}
		}
		if id, s, err := silenceOf(r); id != "" {
			switch {
			case err != nil && s == nil:
				refused(err)
			case err != nil || s == nil || s.ID != id || len(s.Match) == 0 || s.Until.IsZero():
				t.Fatalf("%q = %q is taken for the silence %+v: %v", key, value, s, err)
			}
			all := &silences{stored: map[string]Silence{id: {}}}
			if err := all.apply(r); (err == nil) != (s != nil) || len(all.stored) > 0 != (s != nil) {
				t.Fatalf("%q = %q is in effect as %v: %v", key, value, all.stored, err)
			}
			return
		}
		id, ok := strings.CutPrefix(key, alertKey)
		if !ok {
			return
		}
		a, err := alertOf(id, r)
		if err != nil {
			refused(err)
			return
		}
		written, err := a.record(r.Topic)
		if err != nil {
			t.Fatal(err)
		}
		again, err := alertOf(id, written)
		if err != nil || string(written.Key) != key {
			t.Fatalf("%q = %q is written as %q = %q: %v", key, value, written.Key, written.Value, err)
		}
		if diff := cmp.Diff(a, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-read +written and read)\n%s", diff)
		}
	})
}
