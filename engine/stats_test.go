package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"weir/reading"
)

type statsValue struct {
	Device string  `json:"device_id"`
	Sensor string  `json:"sensor"`
	Count  int64   `json:"count"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Mean   float64 `json:"mean"`
	Sum    float64 `json:"sum"`
	Last   float64 `json:"last"`
	LastTS string  `json:"last_ts"`
	Offset int64   `json:"offset"`
}

// Whatever is aborted, crashed and restored on the way, the statistics are those of each record taken once,
// and a restored task goes on as the one before it would have.
func TestStatsThroughAbortsAndRestores(t *testing.T) {
	processor := &DeviceStats{Topic: "stats"}
	rapid.Check(t, func(t *rapid.T) {
		var input []*kgo.Record
		want := make(map[string]statsValue)
		for i := range rapid.IntRange(1, 80).Draw(t, "records") {
			r := reading.Reading{
				DeviceID: fmt.Sprint("d", rapid.IntRange(0, 2).Draw(t, "device")), Sensor: rapid.SampledFrom([]string{"s", "t"}).Draw(t, "sensor"),
				Value: rapid.Float64Range(-1e6, 1e6).Draw(t, "value"), TS: int64(i) * 1000, Seq: int64(i),
			}
			input = append(input, &kgo.Record{Topic: "in", Partition: 3, Offset: int64(i) * 2, Value: r.AppendJSON(nil)})
			k := r.DeviceID + "/" + r.Sensor
			w, ok := want[k]
			if !ok {
				w = statsValue{Device: r.DeviceID, Sensor: r.Sensor, Min: math.Inf(1), Max: math.Inf(-1)}
			}
			w.Count++
			w.Min, w.Max = math.Min(w.Min, r.Value), math.Max(w.Max, r.Value)
			w.Sum += r.Value
			w.Mean = w.Sum / float64(w.Count)
			w.Last, w.LastTS, w.Offset = r.Value, string(reading.AppendTime(nil, r.TS)), int64(i)*2
			want[k] = w
		}
		changelog := make(map[string]*kgo.Record)
		restore := func() Task {
			task := processor.NewTask(3)
			for _, r := range changelog {
				if err := task.Restore(r); err != nil {
					t.Fatal(err)
				}
			}
			return task
		}
		task := processor.NewTask(3)
		for at := 0; at < len(input); {
			end := min(len(input), at+rapid.IntRange(1, 10).Draw(t, "batch"))
			var out Output
			if err := task.Step(input[at:end], &out); err != nil {
				t.Fatal(err)
			}
			if err := task.Flush(&out); err != nil {
				t.Fatal(err)
			}
			switch rapid.SampledFrom([]string{"commit", "commit", "abort", "crash before", "crash after"}).Draw(t, "fate") {
			case "abort":
				task.Abort()
				continue
			case "crash before":
				task = restore()
				continue
			case "crash after":
				keep(changelog, out.records)
				task = restore()
			default:
				keep(changelog, out.records)
				task.Commit()
			}
			at = end
		}
		got := make(map[string]statsValue)
		for _, r := range changelog {
			if r.Partition != 3 || r.Topic != "stats" {
				t.Fatalf("written to %s-%d", r.Topic, r.Partition)
			}
			var v statsValue
			if err := json.Unmarshal(r.Value, &v); err != nil {
				t.Fatalf("%s: %v", r.Value, err)
			}
			got[v.Device+"/"+v.Sensor] = v
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

// keep stores what a committed transaction has written, as the compacted topic would.
func keep(changelog map[string]*kgo.Record, records []*kgo.Record) {
	for _, r := range records {
		changelog[string(r.Key)] = &kgo.Record{
			Topic: r.Topic, Partition: r.Partition, Key: append([]byte(nil), r.Key...), Value: append([]byte(nil), r.Value...),
		}
	}
}

func TestStatsDeadLetters(t *testing.T) {
	task := (&DeviceStats{Topic: "stats"}).NewTask(0)
	good := reading.Reading{DeviceID: "d", Sensor: "s", Value: math.MaxFloat64}
	var out Output
	err := task.Step([]*kgo.Record{
		{Offset: 0, Value: []byte("not JSON")}, {Offset: 1, Value: good.AppendJSON(nil)}, {Offset: 2}, {Offset: 3, Value: good.AppendJSON(nil)},
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.letters) != 2 || out.letters[0].in.Offset != 0 || out.letters[1].in.Offset != 2 {
		t.Errorf("dead letters %+v", out.letters)
	}
	if err := task.Flush(&out); err != nil {
		t.Fatal(err)
	}
	if v := out.records[0].Value; !json.Valid(v) || !strings.Contains(string(v), `"count":2`) {
		t.Errorf("a sum that overflows gives %s", v)
	}
}

func TestStatsRestoreRefusesWhatIsNoState(t *testing.T) {
	for _, value := range []string{"x", `{"device_id":"d","sensor":"s","count":1,"last_ts":"then"}`} {
		err := (&DeviceStats{}).NewTask(0).Restore(&kgo.Record{Topic: "stats", Partition: 1, Offset: 7, Value: []byte(value)})
		if err == nil || !strings.Contains(err.Error(), "stats-1 at offset 7") {
			t.Errorf("%s: error %v", value, err)
		}
	}
}

// A number is free again when its process has let go of it, and only then.
func TestSlots(t *testing.T) {
	dir := t.TempDir()
	first, err := TakeSlot(dir, "g")
	if err != nil {
		t.Fatal(err)
	}
	second, err := TakeSlot(dir, "g")
	if err != nil {
		t.Fatal(err)
	}
	if first.Instance == second.Instance {
		t.Errorf("two live processes are both %s", first.Instance)
	}
	if err := first.Free(); err != nil {
		t.Fatal(err)
	}
	third, err := TakeSlot(dir, "g")
	if err != nil {
		t.Fatal(err)
	}
	if third.Instance != first.Instance {
		t.Errorf("the free number of %s was not taken again: %s", first.Instance, third.Instance)
	}
}

func BenchmarkStatsStep(b *testing.B) {
	task := (&DeviceStats{}).NewTask(0)
	var records []*kgo.Record
	for i := range 1000 {
		r := reading.Reading{DeviceID: fmt.Sprint("device-", i%100), Sensor: "temperature", Value: float64(i), Unit: "Cel", Seq: int64(i)}
		records = append(records, &kgo.Record{Offset: int64(i), Value: r.AppendJSON(nil)})
	}
	var out Output
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(records) {
		if err := task.Step(records, &out); err != nil {
			b.Fatal(err)
		}
	}
}
