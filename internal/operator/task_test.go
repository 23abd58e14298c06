package operator

import (
	"testing"
	"time"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// Rows emitted by operators are counted once, even if a transaction is repeated, and each operator
// reports its watermark.
func TestFlows(t *testing.T) {
	program, err := plan.Compile(benchTables+benchTumble, "flows")
	if err != nil {
		t.Fatal(err)
	}
	store := state.Memory()
	task, err := New(Config{Program: program, Stage: program.Stages[0], Peers: 1, Partitions: func(string) int32 { return benchPartitions }, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]int64)
	count := func() (last Flow) {
		task.Flows(func(f Flow) {
			for _, r := range program.Stages[0].Relations {
				if r.ID == f.Relation {
					last = f
					switch r.Op.(type) {
					case *plan.Scan:
						rows["scan"] += f.Rows
					case *plan.Aggregate:
						rows["aggregate"] += f.Rows
					case *plan.Insert:
						rows["insert"] += f.Rows
					}
				}
			}
		})
		return last
	}
	records := benchRecords(14_000) // one second per thousand; windows of 10 s, which close 2 s after their end
	var out Output
	step := func() {
		t.Helper()
		out.Reset()
		if err := task.Step("readings", records, time.Time{}, &out); err != nil {
			t.Fatal(err)
		}
		if err := task.FinishTransaction(&out); err != nil {
			t.Fatal(err)
		}
	}
	step()
	store.Abort()
	task.Rollback()
	if watermark := count().Watermark; watermark != nil || rows["scan"] != 0 {
		t.Errorf("after an abort: watermark %v, rows %v", watermark, rows)
	}
	step()
	store.Changes(func(_, _ []byte) {})
	if err := store.Commit(1); err != nil {
		t.Fatal(err)
	}
	last := count()
	if rows["scan"] != 14_000 || rows["aggregate"] != 1000 || rows["insert"] != 1000 || len(out.Records) != 1000 {
		t.Errorf("rows %v, %d records", rows, len(out.Records))
	}
	if last.Watermark == nil || last.Watermark.Second() != 11 {
		t.Errorf("the last operator tells the watermark %v, want second 11", last.Watermark)
	}
	count()
	if rows["scan"] != 14_000 {
		t.Errorf("asked again it says %v", rows)
	}
}
