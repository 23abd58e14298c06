package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

const leaping = `
CREATE TABLE readings (device_id STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset'%s);
CREATE TABLE hops (d STRING, s TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hops', 'format' = 'json');
INSERT INTO hops SELECT device_id, window_start, COUNT(*) FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' HOUR)) GROUP BY device_id, window_start, window_end;`

// One leap of the watermark closes 7,200 windows of each device. They are emitted in several
// transactions, each once, although the worker is stopped after the first, and a bounded pipeline
// ends only when all are emitted.
func TestLeapIsEmittedInParts(t *testing.T) {
	const devices, panes = 36, 7200
	for _, bounded := range []string{"", ", 'scan.bounded.mode' = 'latest-offset'"} {
		_, at, client := startCluster(t, 1, []string{"readings"})
		for i := range devices + 1 {
			value := fmt.Appendf(nil, `{"device_id":"d%d","ts":"2026-01-%02d 00:00:00"}`, i%devices, 1+i/devices)
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "readings", Value: value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		p, err := plan.Compile(fmt.Sprintf(leaping, bounded), "leaping")
		if err != nil {
			t.Fatal(err)
		}
		most, commits := 0, 0
		run := func(stopAfter int) {
			ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
			defer stop()
			_, err := Run(ctx, Config{Broker: at, Program: p, Instances: []string{"a"}, UntilEnd: bounded == "", OnCommit: func(done Commit) {
				if done.Outputs > 1 {
					most, commits = max(most, done.Outputs), commits+1
				}
				if commits == stopAfter {
					stop()
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if stopAfter < 0 && ctx.Err() != nil {
				t.Fatal("it did not end")
			}
		}
		run(1)
		run(-1)
		want := devices * panes
		if bounded != "" {
			want += panes // of the row after the leap
		}
		seen := make(map[string]int)
		if err := broker.ReadAll(t.Context(), at, "hops", nil, func(r *kgo.Record) error {
			seen[string(r.Value)]++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for row, n := range seen {
			if n != 1 {
				t.Fatalf("%s came %d times", row, n)
			}
		}
		if len(seen) != want {
			t.Errorf("bounded %q: %d windows, want %d", bounded, len(seen), want)
		}
		if commits < 3 || most > 110_000 {
			t.Errorf("%d transactions, the largest of %d rows, want several of at most about 100,000", commits, most)
		}
	}
}

// A pipeline that was stopped before all due windows were emitted may have read its inputs to the
// end. Its next run emits these windows before it ends, even if the group assigns its partitions
// late.
func TestDueWindowsOfUnassignedPartitions(t *testing.T) {
	for _, bounded := range []bool{true, false} {
		t.Run(fmt.Sprintf("bounded %t", bounded), func(t *testing.T) { testLateAssignment(t, bounded) })
	}
}

func testLateAssignment(t *testing.T, bounded bool) {
	const devices, panes = 15, 7200
	c, at, client := startCluster(t, 1, []string{"readings"})
	option, values := "", make([][]byte, 0, devices+1)
	for i := range devices {
		values = append(values, fmt.Appendf(nil, `{"device_id":"d%d","ts":"2026-01-01 00:00:00"}`, i))
	}
	if bounded {
		option = ", 'scan.bounded.mode' = 'latest-offset'"
	} else { // a leap of the watermark closes the windows, which the end of the input does above
		values = append(values, []byte(`{"device_id":"d0","ts":"2026-01-02 00:00:00"}`))
	}
	for _, value := range values {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "readings", Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	p, err := plan.Compile(fmt.Sprintf(leaping, option), "leaping")
	if err != nil {
		t.Fatal(err)
	}
	run := func(stopEarly bool) (rows int) {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if _, err := Run(ctx, Config{Broker: at, Program: p, Instances: []string{"a", "b"}, UntilEnd: !bounded, OnCommit: func(done Commit) {
			if stopEarly && done.Outputs > 1 {
				stop()
			}
		}}); err != nil {
			t.Fatal(err)
		}
		if !stopEarly && ctx.Err() != nil {
			t.Fatal("it did not end")
		}
		if err := broker.ReadAll(t.Context(), at, "hops", nil, func(*kgo.Record) error { rows++; return nil }); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if rows := run(true); rows == devices*panes {
		t.Fatal("the first transaction emitted all windows")
	}
	c.ControlKey(kmsg.JoinGroup.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.SleepControl(func() { time.Sleep(300 * time.Millisecond) })
		return nil, nil, false
	})
	if rows := run(false); rows != devices*panes {
		t.Errorf("%d windows, want %d", rows, devices*panes)
	}
}
