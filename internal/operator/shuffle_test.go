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

const exchanged = `
CREATE TABLE readings (sensor STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json');
CREATE TABLE counts (sensor STRING, s TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'counts', 'format' = 'json');
INSERT INTO counts SELECT sensor, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY sensor, window_start, window_end;`

// exchange is a pipeline of two stages: any number of tasks that send, and one that receives.
type exchange struct {
	*testing.T
	program  *plan.Program
	senders  []*state.Store
	receiver *state.Store
	results  []string
	late     int
}

func newExchange(t *testing.T, senders int) *exchange {
	t.Helper()
	program, err := plan.Compile(exchanged, "exchanged")
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange{T: t, program: program, receiver: state.Memory()}
	x.widen(senders)
	return x
}

// widen gives the source partitions.
func (x *exchange) widen(senders int) {
	for len(x.senders) < senders {
		x.senders = append(x.senders, state.Memory())
	}
}

// task is one of a stage, as it is after a restart.
func (x *exchange) task(stage, partition int, store *state.Store) *Task {
	x.Helper()
	peers := 1
	if stage == 0 {
		peers = len(x.senders)
	}
	task, err := New(Config{
		Program: x.program, Stage: x.program.Stages[stage], Partition: int32(partition), Peers: int32(peers), //nolint:gosec // few
		Partitions: func(string) int32 { return 1 }, Store: store,
	})
	if err != nil {
		x.Fatal(err)
	}
	return task
}

// through runs records through a task in one transaction, and commits it.
func (x *exchange) through(task *Task, store *state.Store, topic string, records []*kgo.Record) *Output {
	x.Helper()
	out := &Output{}
	if err := task.Step(topic, records, time.Time{}, out); err != nil {
		x.Fatal(err)
	}
	if err := task.Flush(out); err != nil {
		x.Fatal(err)
	}
	store.Changes(func(_, _ []byte) {})
	if err := store.Commit(store.Offset() + 1); err != nil {
		x.Fatal(err)
	}
	return out
}

// send has a sender read rows of these seconds, and a receiver what it writes. Both have restarted
// before.
func (x *exchange) send(sender int, seconds ...int) {
	x.Helper()
	var rows []*kgo.Record
	for i, s := range seconds {
		value := fmt.Appendf(nil, `{"sensor":"a","ts":"2026-01-01 00:%02d:%02d"}`, s/60, s%60)
		rows = append(rows, &kgo.Record{Topic: "readings", Partition: int32(sender), Offset: int64(i), Value: value}) //nolint:gosec // few
	}
	sent := x.through(x.task(0, sender, x.senders[sender]), x.senders[sender], "readings", rows)
	topic := x.program.Stages[1].Inputs[0].Topic()
	got := x.through(x.task(1, 0, x.receiver), x.receiver, topic, sent.Records)
	for _, r := range got.Records {
		x.results = append(x.results, string(r.Value))
	}
	x.late += len(got.Late)
}

// A receiver whose number of senders grew keeps the watermark that it has reached over restarts,
// also while the new senders have not spoken: a row before it is late, and no second window.
func TestReceiverKeepsItsWatermark(t *testing.T) {
	for _, speakers := range [][]int{{0}, {1}, {0, 1}, {0, 1, 2}, {3, 2, 1}} {
		for _, old := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/old state %v", speakers, old), func(t *testing.T) {
				x := newExchange(t, 2)
				x.send(0, 1, 2, 25)
				x.send(1, 3, 25)
				if old { // a version before this one kept the senders' watermarks only
					x.receiver.Delete(watermarkEntry, 0, []byte(reachedKey+x.program.Stages[1].Inputs[0].Topic()))
				}
				x.widen(4)
				for _, s := range speakers {
					x.send(s, 26)
				}
				x.send(3, 5) // out of order, and new or its first row
				for s := range x.senders {
					x.send(s, 40)
				}
				windows := 0
				for _, r := range x.results {
					if strings.Contains(r, "00:00:00") {
						windows++
					}
				}
				if windows != 1 || x.late != 1 {
					t.Errorf("the first window came out %d times and %d rows were late, want 1 and 1: %q", windows, x.late, x.results)
				}
			})
		}
	}
}
