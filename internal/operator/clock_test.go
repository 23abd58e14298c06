package operator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// The time of a transaction is that of its first call. A step is a function of its records, that
// time and the seed: the same ones give the same rows, and an aborted transaction leaves nothing.
func TestOneTimePerTransaction(t *testing.T) {
	p, err := plan.Compile(`
CREATE TABLE i (k STRING) WITH ('connector' = 'kafka', 'topic' = 'i', 'format' = 'json');
CREATE TABLE o (k STRING, t TIMESTAMP_LTZ(3), u STRING, r DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'o', 'format' = 'json');
INSERT INTO o SELECT k, NOW(), UUID(), RAND() FROM i WHERE CURRENT_TIMESTAMP > TIMESTAMP '2000-01-01 00:00:00';`, "clock")
	if err != nil {
		t.Fatal(err)
	}
	create := func(seed byte) *Task {
		task, err := New(Config{Program: p, Stage: p.Stages[0], Peers: 1, Partitions: func(string) int32 { return 1 }, Store: state.Memory(), Seed: [32]byte{seed}})
		if err != nil {
			t.Fatal(err)
		}
		return task
	}
	step := func(task *Task, at time.Time) string {
		var out Output
		for i := range 2 { // the second call of the transaction comes with a later time
			record := &kgo.Record{Topic: "i", Value: fmt.Appendf(nil, `{"k":"%d"}`, i)}
			if err := task.Step("i", []*kgo.Record{record}, at.Add(time.Duration(i)*time.Minute), &out); err != nil {
				t.Fatal(err)
			}
		}
		if err := task.FinishTransaction(&out); err != nil {
			t.Fatal(err)
		}
		var rows []string
		for _, r := range out.Records {
			rows = append(rows, string(r.Value))
		}
		if len(rows) != 2 {
			t.Fatalf("%d rows and %v, want 2", len(rows), out.DeadLetters)
		}
		return strings.Join(rows, " ")
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	task := create(1)
	first := step(task, at)
	if n := strings.Count(first, `"t":"2026-01-02 03:04:05Z"`); n != 2 {
		t.Errorf("%d rows have the transaction's time: %s", n, first)
	}
	if again := step(create(1), at); again != first {
		t.Errorf("the same transaction has given\n%s and\n%s", first, again)
	}
	if other := step(create(2), at); other == first {
		t.Error("another seed has given the same rows")
	}
	if next := step(task, at); next == first {
		t.Error("the next transaction has the same random values")
	}
	task.Rollback()
	if after := step(task, at.Add(time.Hour)); strings.Count(after, `"t":"2026-01-02 04:04:05Z"`) != 2 {
		t.Errorf("the transaction after an abort has not its own time: %s", after)
	}
}
