package engine_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/retry"
)

const countQuery = `
SET 'pipeline.name' = 'counted';
CREATE TABLE readings (device_id STRING, sensor STRING, x DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE counts (sensor STRING, since TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'counts', 'value.format' = 'json');
INSERT INTO counts SELECT sensor, window_start, COUNT(*)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY sensor, window_start, window_end;
`

// reading returns a record whose event time is at the given second.
func reading(partition int32, second int) *kgo.Record {
	at := time.Date(2026, 3, 1, 0, 0, second, 0, time.UTC).Format(time.RFC3339)
	device := "d" + strconv.Itoa(int(partition))
	return &kgo.Record{Topic: "readings", Partition: partition, Key: []byte(device), Value: fmt.Appendf(nil, `{"sensor":"t","x":1,"ts":%q}`, at)}
}

func serve(t *testing.T) (broker.Config, *kgo.Client) {
	t.Helper()
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	at := broker.Config{Brokers: []string{b.Addr()}}
	client, err := broker.Connect(t.Context(), at, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 2, 1, nil, "readings"); err != nil {
		t.Fatal(err)
	}
	return at, client
}

// The status of a pipeline reports what it has read, written, diverted and stored. It can be read
// during the run, and after a restart it reports what was restored.
func TestStatus(t *testing.T) {
	at, client := serve(t)
	program, err := plan.Compile(countQuery, "counted")
	if err != nil {
		t.Fatal(err)
	}
	produce := func(all ...*kgo.Record) {
		t.Helper()
		if err := client.ProduceSync(t.Context(), all...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	// run runs the pipeline until its status satisfies want.
	run := func(want func(engine.Snapshot) bool) engine.Snapshot {
		t.Helper()
		status := engine.NewStatus(program)
		ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
		defer stop()
		var running sync.WaitGroup
		running.Go(func() {
			_, err := engine.Run(ctx, engine.Config{
				Broker: at, Program: program, Instances: []string{"a", "b"}, CommitInterval: 10 * time.Millisecond, Status: status,
			})
			if err != nil {
				t.Error(err)
			}
		})
		now := status.Snapshot()
		for ; !want(now) && retry.Sleep(ctx, time.Millisecond) == nil; now = status.Snapshot() {
		}
		if ctx.Err() != nil {
			t.Errorf("it did not come to: %+v", now)
		}
		stop()
		running.Wait()
		for _, w := range status.Snapshot().Workers {
			if w.Phase != engine.Stopped {
				t.Errorf("worker %s is %s after its end", w.Instance, w.Phase)
			}
		}
		return now
	}
	fatal := reading(1, 0)
	fatal.Value = []byte("{")
	produce(reading(0, 1), reading(0, 2), reading(0, 25), fatal, reading(1, 21))
	sent := false
	now := run(func(s engine.Snapshot) bool {
		late := int64(0)
		watermarks := 0
		for _, task := range s.Tasks {
			late += task.Late
			for _, in := range task.Inputs {
				if in.Topic != "readings" && in.Watermark != nil && in.Watermark.Second() == 21 {
					watermarks++
				}
			}
		}
		if watermarks == 2 && !sent { // the window of this one is closed now
			produce(reading(0, 3), reading(1, 21))
			sent = true
		}
		return late == 1 && s.P50 > 0
	})
	var in, out, letters, entries, committed, scanned, written int64
	for _, task := range now.Tasks {
		if ops := task.Operators; task.Stage == "stage1" {
			scanned += ops[0].Rows
		} else {
			written += ops[len(ops)-1].Rows
			if mark := ops[len(ops)-1].Watermark; mark == nil || mark.Second() != 21 {
				t.Errorf("%s-%d writes up to the watermark %v, want second 21", task.Stage, task.Partition, mark)
			}
		}
		if task.Worker == "" {
			t.Errorf("%s-%d has no worker", task.Stage, task.Partition)
		}
		for _, i := range task.Inputs {
			if i.Topic == "readings" {
				in += i.Records
				if i.Lag != 0 || i.Position != i.End || i.Position < i.Records || i.Behind != 0 {
					t.Errorf("everything is read, but the input has %+v", i)
				}
				if want := map[int32]int{0: 25, 1: 21}[task.Partition]; i.Watermark == nil || i.Watermark.Second() != want {
					t.Errorf("watermark of partition %d is %v, want second %d", task.Partition, i.Watermark, want)
				}
			}
		}
		if task.Stage == "stage2" {
			out += task.Outputs
		}
		letters += task.DeadLetters
		entries += task.StateEntries
	}
	for _, w := range now.Workers {
		committed += w.Committed
		if w.Phase != engine.Running || w.Sessions != 1 {
			t.Errorf("worker %+v", w)
		}
	}
	if in != 7 || letters != 1 || out != 1 || committed == 0 || now.P50 <= 0 {
		t.Errorf("read %d (want 7), %d dead letters (1), %d rows (1), %d commits, latency %v", in, letters, out, committed, time.Duration(now.P50))
	}

	if scanned != 6 || written != 1 {
		t.Errorf("operators say that %d rows were read (want 6) and %d written (1)", scanned, written)
	}

	produce(reading(0, 26))
	now = run(func(s engine.Snapshot) bool {
		done := 0
		for _, task := range s.Tasks {
			if task.Restore.Done && task.Inputs[0].Topic == "readings" {
				done++
			}
		}
		return done == 2 && len(s.Tasks) == 4 && s.P50 > 0
	})
	restored, watermarks := int64(0), 0
	for _, task := range now.Tasks {
		restored += task.Restore.Of
		entries += task.StateEntries
		for _, i := range task.Inputs {
			if i.Watermark != nil {
				watermarks++
			}
		}
	}
	if restored == 0 || watermarks != 4 || entries == 0 {
		t.Errorf("after a restart %d changelog records and %d watermarks, %d entries of state: %+v", restored, watermarks, entries, now)
	}
}
