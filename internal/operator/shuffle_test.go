package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

const shuffled = `
CREATE TABLE readings (sensor STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json');
CREATE TABLE counts (sensor STRING, s TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'counts', 'format' = 'json');
INSERT INTO counts SELECT sensor, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY sensor, window_start, window_end;`

// shuffle is a pipeline of two stages: any number of writer tasks and one reader task.
type shuffle struct {
	*testing.T
	program *plan.Program
	writers []*state.Store
	reader  *state.Store
	results []string
	late    int
}

func newShuffle(t *testing.T, writers int) *shuffle {
	t.Helper()
	program, err := plan.Compile(shuffled, "shuffled")
	if err != nil {
		t.Fatal(err)
	}
	x := &shuffle{T: t, program: program, reader: state.Memory()}
	x.widen(writers)
	return x
}

// widen adds partitions to the source.
func (x *shuffle) widen(writers int) {
	for len(x.writers) < writers {
		x.writers = append(x.writers, state.Memory())
	}
}

// task returns a task of a stage as it is after a restart.
func (x *shuffle) task(stage, partition int, store *state.Store) *Task {
	x.Helper()
	peers := 1
	if stage == 0 {
		peers = len(x.writers)
	}
	task, err := New(Config{
		Program: x.program, Stage: x.program.Stages[stage], Partition: int32(partition), Peers: int32(peers), //nolint:gosec // small number
		Partitions: func(string) int32 { return int32(peers) }, Store: store, //nolint:gosec // small number
	})
	if err != nil {
		x.Fatal(err)
	}
	return task
}

// through runs records through a task in one transaction and commits it.
func (x *shuffle) through(task *Task, store *state.Store, topic string, records []*kgo.Record) *Output {
	x.Helper()
	out := &Output{}
	if err := task.Step(topic, records, time.Time{}, out); err != nil {
		x.Fatal(err)
	}
	if err := task.FinishTransaction(out); err != nil {
		x.Fatal(err)
	}
	store.Changes(func(_, _ []byte) {})
	if err := store.Commit(store.Offset() + 1); err != nil {
		x.Fatal(err)
	}
	return out
}

// send passes rows at these seconds through a writer, and its output through the reader. Both have
// just restarted.
func (x *shuffle) send(writer int, seconds ...int) {
	x.Helper()
	var rows []*kgo.Record
	for i, s := range seconds {
		value := fmt.Appendf(nil, `{"sensor":"a","ts":"2026-01-01 00:%02d:%02d"}`, s/60, s%60)
		rows = append(rows, &kgo.Record{Topic: "readings", Partition: int32(writer), Offset: int64(i), Value: value}) //nolint:gosec // small number
	}
	sent := x.through(x.task(0, writer, x.writers[writer]), x.writers[writer], "readings", rows)
	topic := x.program.Stages[1].Inputs[0].Topic()
	got := x.through(x.task(1, 0, x.reader), x.reader, topic, sent.Records)
	for _, r := range got.Records {
		x.results = append(x.results, string(r.Value))
	}
	x.late += len(got.Late)
}

// A reader whose number of writers has grown keeps its watermark across restarts, even before the
// new writers have sent theirs: an earlier row is late and does not create a second window.
func TestShuffleReaderKeepsItsWatermark(t *testing.T) {
	for _, active := range [][]int{{0}, {1}, {0, 1}, {0, 1, 2}, {3, 2, 1}} {
		for _, old := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/old state %v", active, old), func(t *testing.T) {
				x := newShuffle(t, 2)
				x.send(0, 1, 2, 25)
				x.send(1, 3, 25)
				if old { // an older version stored only the watermarks of the writers
					x.reader.Delete(watermarkEntry, 0, []byte(reachedKey+x.program.Stages[1].Inputs[0].Topic()))
				}
				x.widen(4)
				for _, s := range active {
					x.send(s, 26)
				}
				x.send(3, 5) // out of order, from a new writer
				for s := range x.writers {
					x.send(s, 40)
				}
				windows := 0
				for _, r := range x.results {
					if strings.Contains(r, "00:00:00") {
						windows++
					}
				}
				if windows != 1 || x.late != 1 {
					t.Errorf("got %d results of the first window and %d late rows, want 1 and 1: %q", windows, x.late, x.results)
				}
			})
		}
	}
}

// captured is an operator that records the metadata of its rows.
type captured struct {
	base
	lanes      []lane
	watermarks []rowWatermark
}

func (c *captured) push(_ int, r *rowBatch) {
	for i := range r.N {
		c.lanes, c.watermarks = append(c.lanes, r.lane(i)), append(c.watermarks, r.watermark(i, minWatermark))
	}
}

func (c *captured) advance(int, int64, bool) {}

// After a shuffle, each row still has the lane of its partition and the watermark that its own
// partition had before it, regardless of where transactions end and how writers interleave.
func TestShuffleKeepsLanesAndWatermarks(t *testing.T) {
	second := func(s int) rowWatermark {
		return rowWatermark(time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC).UnixMicro())
	}
	type batch struct {
		writer  int
		seconds []int
	}
	for name, c := range map[string]struct {
		batches    []batch
		lanes      []lane
		watermarks []rowWatermark
	}{
		"one transaction each": {
			[]batch{{0, []int{5, 3, 9}}, {1, []int{1, 2}}, {2, []int{7}}},
			[]lane{0, 0, 0, 1, 1, 2},
			[]rowWatermark{rowWatermark(minWatermark), second(5), second(5), rowWatermark(minWatermark), second(1), rowWatermark(minWatermark)},
		},
		"interleaved": {
			[]batch{{1, []int{1}}, {0, []int{5}}, {1, []int{2}}, {0, []int{3, 9}}},
			[]lane{1, 0, 1, 0, 0},
			[]rowWatermark{rowWatermark(minWatermark), rowWatermark(minWatermark), second(1), second(5), second(5)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newShuffle(t, 3)
			reader := x.task(1, 0, x.reader)
			got := &captured{base: newBase(reader, x.program.Stages[1].Relations[0])}
			reader.nodes[0].connect(got, 0)
			for _, b := range c.batches {
				var rows []*kgo.Record
				for _, s := range b.seconds {
					rows = append(rows, &kgo.Record{Topic: "readings", Value: fmt.Appendf(nil, `{"sensor":"a","ts":"2026-01-01 00:00:%02d"}`, s)})
				}
				sent := x.through(x.task(0, b.writer, x.writers[b.writer]), x.writers[b.writer], "readings", rows)
				x.through(reader, x.reader, x.program.Stages[1].Inputs[0].Topic(), sent.Records)
			}
			if !slices.Equal(got.lanes, c.lanes) || !slices.Equal(got.watermarks, c.watermarks) {
				t.Errorf("lanes %v, want %v; watermarks %v, want %v", got.lanes, c.lanes, got.watermarks, c.watermarks)
			}
		})
	}
}

// Rows for a partition share records, in their order; a row alone has a record as in earlier
// versions. Both are read.
func TestRowsShareRecords(t *testing.T) {
	x := newShuffle(t, 1)
	const rows = 3000
	var records []*kgo.Record
	for i := range rows {
		records = append(records, &kgo.Record{Topic: "readings", Offset: int64(i), Value: fmt.Appendf(nil, `{"sensor":"s%d","ts":"2026-01-01 00:00:0%d"}`, i%7, i*9/rows)})
	}
	repartition := x.program.Stages[1].Topics()[0]
	out := x.through(x.task(0, 0, x.writers[0]), x.writers[0], "readings", records)
	read, several := 0, 0
	for _, r := range out.Records {
		if r.Topic != repartition || r.Value[0] == watermarkRecord {
			continue
		}
		in := &reader{b: r.Value[1:]}
		if r.Value[0] == rowRecord {
			read++
			continue
		}
		if len(r.Value) > sharedBytes+100 {
			t.Errorf("a record of %d bytes", len(r.Value))
		}
		for several++; len(in.b) > 0 && in.err == nil; read++ {
			in.bytes()
		}
		if in.err != nil {
			t.Fatal(in.err)
		}
	}
	if read != rows || several < 3 || len(out.Records) > rows/20 {
		t.Errorf("%d rows in %d records, of which %d have several, want %d rows", read, len(out.Records), several, rows)
	}
	// The same rows in records of their own, as an earlier version wrote them.
	var single []*kgo.Record
	for _, r := range out.Records {
		if r.Value[0] != rowsRecord {
			single = append(single, r)
			continue
		}
		for in := (&reader{b: r.Value[1:]}); len(in.b) > 0; {
			single = append(single, &kgo.Record{Topic: r.Topic, Value: append([]byte{rowRecord}, in.bytes()...)})
		}
	}
	last := &kgo.Record{Topic: "readings", Offset: rows, Value: []byte(`{"sensor":"s0","ts":"2026-01-01 00:01:00"}`)}
	more := x.through(x.task(0, 0, x.writers[0]), x.writers[0], "readings", []*kgo.Record{last})
	var results [2][]string
	for i, sent := range [][]*kgo.Record{out.Records, single} {
		store := state.Memory()
		for _, r := range x.through(x.task(1, 0, store), store, repartition, slices.Concat(sent, more.Records)).Records {
			results[i] = append(results[i], string(r.Value))
		}
	}
	if len(results[0]) != 7 || !slices.Equal(results[0], results[1]) {
		t.Errorf("windows %q, and from records of one row %q", results[0], results[1])
	}
	// What is cut off is not taken for rows.
	for _, r := range out.Records {
		if r.Value[0] == rowsRecord {
			store := state.Memory()
			cut := &kgo.Record{Topic: repartition, Value: r.Value[:len(r.Value)-3]}
			if err := x.task(1, 0, store).Step(repartition, []*kgo.Record{cut}, time.Time{}, &Output{}); err == nil {
				t.Error("a record that is cut off is accepted")
			}
			break
		}
	}
}
