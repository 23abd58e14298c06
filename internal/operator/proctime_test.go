package operator

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// Tasks between which state moves first get the highest clock of all: a task that is behind emits
// what is over by that clock, and a task that is restored with it emits nothing again.
func TestClocksAreAligned(t *testing.T) {
	p, err := plan.Compile(`
CREATE TABLE i (k STRING, p AS PROCTIME()) WITH ('connector' = 'kafka', 'topic' = 'i', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json');
CREATE TABLE o (k STRING, e TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'o', 'format' = 'json');
INSERT INTO o SELECT k, window_end, COUNT(*) FROM TABLE(HOP(TABLE i, DESCRIPTOR(p), INTERVAL '1' MINUTE, INTERVAL '3' MINUTE)) GROUP BY k, window_start, window_end;`, "clock")
	if err != nil {
		t.Fatal(err)
	}
	create := func(store *state.Store) *Task {
		task, err := New(Config{Program: p, Stage: p.Stages[0], Peers: 1, Partitions: func(string) int32 { return 1 }, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		return task
	}
	commit := func(task *Task, out *Output, err error) int {
		t.Helper()
		if err == nil {
			err = task.FinishTransaction(out)
		}
		if err == nil {
			err = task.store.Commit(task.store.Offset() + 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Records)
	}
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ahead, behind := create(state.Memory()), create(state.Memory())
	for i, task := range []*Task{ahead, behind} {
		out := &Output{}
		record := &kgo.Record{Topic: "i", Key: fmt.Appendf(nil, "%d", i), Value: fmt.Appendf(nil, `{"k":"%d"}`, i)}
		if n := commit(task, out, task.Step("i", []*kgo.Record{record}, began, out)); n != 0 {
			t.Errorf("%d windows before their end", n)
		}
	}
	if later := began.Add(54 * time.Second); ahead.WindowsDue(later) || !ahead.WindowsDue(later.Add(time.Second)) {
		t.Error("a window is due before its end, or not at its end")
	}
	out := &Output{}
	if n := commit(ahead, out, ahead.Tick(began.Add(2*time.Minute), out)); n != 2 {
		t.Errorf("%d windows after two minutes, want 2", n)
	}
	for _, want := range []int{2, 0} {
		out = &Output{}
		moved, err := behind.Advance(ahead.Watermarks(), began, out)
		if n := commit(behind, out, err); n != want || moved != (want > 0) {
			t.Errorf("%d windows by the clock of another task, moved %t, want %d", n, moved, want)
		}
		behind = create(behind.store)
	}
	out = &Output{}
	if n := commit(behind, out, behind.End("i", began, out)); n != 1 {
		t.Errorf("%d windows at the end, want 1", n)
	}
}
