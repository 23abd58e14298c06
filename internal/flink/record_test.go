package flink

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kgo"
)

// FuzzDeployment reads the record of a deployment: it is refused with its key, or is that of the
// key, and written back unchanged.
func FuzzDeployment(f *testing.F) {
	d := Deployment{
		Name: "p", State: stateRunning, JobID: "ab", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), SQL: "SELECT 1", Sources: map[string]string{"t": "topic"}, Sinks: []string{"s"},
		CheckpointInterval: Millis(time.Second), TransactionTimeout: Millis(time.Minute), PossibleLoss: []string{"x"},
	}
	text, err := json.Marshal(d)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("p", text)
	f.Add("q", text)
	for _, other := range []string{``, `null`, `{}`, `7`, `{"name":"p"}`, `{"name":"p","state":"running","at":"2026-01-02T03:04:05Z","checkpoint_interval_ms":-9223372036854775808}`} {
		f.Add("p", []byte(other))
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		d, err := decodeDeployment(&kgo.Record{Topic: RecordTopic, Key: []byte(key), Value: value})
		if err != nil {
			if !strings.Contains(err.Error(), RecordTopic) || !strings.Contains(err.Error(), "without a value") {
				t.Fatalf("%q = %q: %v", key, value, err)
			}
			return
		}
		if d.Name != key || !strings.Contains(string(value), `"state"`) {
			t.Fatalf("%q = %q is taken for %+v", key, value, d)
		}
		written, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeDeployment(&kgo.Record{Topic: RecordTopic, Key: []byte(key), Value: written})
		if diff := cmp.Diff(d, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Fatalf("%v (-read +written and read)\n%s", err, diff)
		}
	})
}
