package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

const minutes = `CREATE TABLE readings (device_id STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings',
  'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset'%s);
CREATE TABLE minutes (window_end TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'minutes', 'value.format' = 'json');
INSERT INTO minutes SELECT window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;`

// A bounded run closes the windows of rows that an unbounded run has committed, however long its
// workers wait for their partitions.
func TestBoundedRunAfterUnboundedOne(t *testing.T) {
	const (
		partitions = 4
		delay      = 500 * time.Millisecond // of each JoinGroup; Kafka waits for 3 s by default
	)
	c, at, client := startCluster(t, partitions, []string{"readings"}, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for p := range int32(partitions) {
		r := &kgo.Record{Topic: "readings", Partition: p, Value: []byte(`{"device_id":"d","ts":"2026-01-01 00:00:30"}`)}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	run := func(options string, untilEnd bool) error {
		p, err := plan.Compile(fmt.Sprintf(minutes, options), "minutes")
		if err != nil {
			t.Fatal(err)
		}
		_, err = Run(t.Context(), Config{Broker: at, Program: p, Instances: []string{"a", "b"}, UntilEnd: untilEnd})
		return err
	}
	if err := run("", true); err != nil {
		t.Fatal(err)
	}

	c.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		c.SleepControl(func() { time.Sleep(delay) })
		return nil, nil, false
	})
	if err := run(", 'scan.bounded.mode' = 'latest-offset'", false); err != nil {
		t.Fatal(err)
	}
	rows := 0
	if err := broker.ReadAll(t.Context(), at, "minutes", nil, func(*kgo.Record) error { rows++; return nil }); err != nil {
		t.Fatal(err)
	}
	if rows == 0 {
		t.Error("the last window was not emitted")
	}
}
