package operator

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

const benchTables = `
CREATE TABLE readings (device_id STRING, sensor STRING, ` + "`value`" + ` DOUBLE, unit STRING, ts TIMESTAMP_LTZ(3), seq BIGINT, boot STRING,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE hot (device_id STRING, sensor STRING, ` + "`value`" + ` DOUBLE, unit STRING, ts TIMESTAMP_LTZ(3), seq BIGINT, boot STRING)
WITH ('connector' = 'kafka', 'topic' = 'hot', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE per_window (device_id STRING, s TIMESTAMP(3), n BIGINT, lo DOUBLE, hi DOUBLE, mean DOUBLE)
WITH ('connector' = 'kafka', 'topic' = 'per_window', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json');
`

// benchPartitions is the partition count of all topics. The task reads the first partition.
const benchPartitions = 4

// benchRecords returns readings of 1000 devices in the first partition, one per millisecond.
func benchRecords(n int) []*kgo.Record {
	var devices []string
	place := kgo.StickyKeyPartitioner(nil).ForTopic("")
	for i := 0; len(devices) < 1000; i++ {
		name := fmt.Sprintf("device-%06d", i)
		if place.Partition(&kgo.Record{Key: []byte(name)}, benchPartitions) == 0 {
			devices = append(devices, name)
		}
	}
	all := make([]*kgo.Record, n)
	for i := range all {
		device := devices[i%1000]
		ms := i
		all[i] = &kgo.Record{Topic: "readings", Key: []byte(device), Offset: int64(i), Value: fmt.Appendf(nil,
			`{"device_id":"%s","sensor":"temperature","value":%d.5,"unit":"°C","ts":"2026-01-01T%02d:%02d:%02d.%03dZ","seq":%d,"boot":"b-1"}`,
			device, i%50, ms/3_600_000%24, ms/60_000%60, ms/1000%60, ms%1000, i)}
	}
	return all
}

// benchTask returns a function that runs readings through a task in one transaction.
func benchTask(t testing.TB, insert string) (transaction func(records []*kgo.Record)) {
	program, err := plan.Compile(benchTables+insert, "bench")
	if err != nil {
		t.Fatal(err)
	}
	store := state.Memory()
	task, err := New(Config{Program: program, Stage: program.Stages[0], Peers: 1, Partitions: func(string) int32 { return benchPartitions }, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	var out Output
	done := int64(0)
	return func(records []*kgo.Record) {
		if err := task.Step("readings", records, time.Time{}, &out); err != nil {
			t.Fatal(err)
		}
		if err := task.FinishTransaction(&out); err != nil {
			t.Fatal(err)
		}
		store.Changes(func(_, _ []byte) {})
		done += int64(len(records))
		if err := store.Commit(done); err != nil {
			t.Fatal(err)
		}
		out.Reset()
	}
}

func benchRows(b *testing.B, insert string) {
	transaction := benchTask(b, insert)
	const batch = 50_000
	records := benchRecords(1_000_000)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += batch {
		from := done % len(records)
		transaction(records[from : from+min(batch, b.N-done)])
	}
}

const (
	benchFilter = "INSERT INTO hot SELECT device_id, sensor, `value`, unit, ts, seq, boot FROM readings WHERE `value` > 25;"
	benchTumble = "INSERT INTO per_window SELECT device_id, window_start, COUNT(*), MIN(`value`), MAX(`value`), AVG(`value`) " +
		"FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, window_start, window_end;"
)

// Rows cause no allocations; windows and results cause few.
func TestAllocations(t *testing.T) {
	for name, c := range map[string]struct {
		insert string
		most   float64 // per reading; a window of a device has ten
	}{"filter": {benchFilter, 0.05}, "tumble": {benchTumble, 0.6}} {
		t.Run(name, func(t *testing.T) {
			transaction := benchTask(t, c.insert)
			const batch = 20_000
			records := benchRecords(6 * batch)
			next := 0
			allocs := testing.AllocsPerRun(4, func() { // after one warm-up run
				transaction(records[next : next+batch])
				next += batch
			})
			if each := allocs / batch; each > c.most {
				t.Errorf("%.2f allocations for each reading, want at most %g", each, c.most)
			}
		})
	}
}

// One operation is one reading: all are decoded and filtered, half of them encoded.
func BenchmarkFilter(b *testing.B) { benchRows(b, benchFilter) }

// One operation is one reading, decoded and counted in its window.
func BenchmarkTumble(b *testing.B) { benchRows(b, benchTumble) }
