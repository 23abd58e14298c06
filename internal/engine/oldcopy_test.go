package engine

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/plan"
)

const oldCopySQL = `
SET 'pipeline.name' = 'w';
CREATE TABLE readings (sensor STRING, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json',
  'key.format' = 'raw', 'key.fields' = 'sensor', 'value.fields-include' = 'EXCEPT_KEY', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE windows (sensor STRING, w STRING, n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'windows', 'value.format' = 'json');
INSERT INTO windows SELECT sensor, DATE_FORMAT(window_start, 'HH:mm'), COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY sensor, window_start, window_end;`

// A local copy has open windows. Another process closes them, writes their rows, and deletes them
// from the changelog, which eventually drops the tombstones (delete.retention.ms). From then on the
// copy must not be used, or its windows would be written again.
func TestOldLocalCopy(t *testing.T) {
	const kept = 2 * time.Hour // delete.retention.ms
	for _, c := range []struct {
		age     time.Duration // of the copy
		compact bool          // the changelog has dropped the tombstones
		rebuilt bool
	}{
		{kept/2 - time.Minute, false, false},
		{kept/2 + time.Minute, false, true},
		{kept + time.Minute, true, true},
		{100 * 24 * time.Hour, true, true},
	} {
		t.Run(fmt.Sprint(c.age), func(t *testing.T) {
			t.Parallel()
			b, err := embedded.Open(embedded.Config{Dir: t.TempDir(), CompactBytes: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.Close() })
			s := &site{T: t, broker: b, at: broker.Config{Brokers: []string{b.Addr()}}, partitions: 3}
			s.connect()
			s.createTopic("readings")
			now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
			dir := filepath.Join(t.TempDir(), "state")

			s.minute(0) // all windows are open
			s.runAt(now, dir)
			s.minute(1)
			s.minute(2)
			s.runAt(now.Add(time.Minute), "") // in another process
			before := s.windows()
			if len(before) == 0 || len(slices.Compact(slices.Clone(before))) != len(before) {
				t.Fatalf("the windows of the first minutes are not written once: %v", before)
			}
			s.keepTombstones(0)
			if c.compact {
				if err := b.Maintain(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			s.keepTombstones(kept)
			s.minute(3)
			log := s.runAt(now.Add(c.age), dir)
			after := s.windows()
			if len(after) <= len(before) || len(slices.Compact(slices.Clone(after))) != len(after) {
				t.Errorf("windows are missing or written twice: %v, before it %v", after, before)
			}
			if rebuilt := log.count("last commit") > 0; rebuilt != c.rebuilt {
				t.Errorf("copies of age %s: rebuilt %t, want %t\n%s", c.age, rebuilt, c.rebuilt, log)
			}
		})
	}
}

// minute sends readings of a minute of event time, to all partitions.
func (s *site) minute(m int) {
	s.Helper()
	hash := kgo.StickyKeyPartitioner(nil).ForTopic("readings")
	for i := range 30 {
		r := &kgo.Record{Topic: "readings", Key: fmt.Appendf(nil, "s%d", i%10), Value: fmt.Appendf(nil, `{"ts":"2026-11-01T12:%02d:%02dZ"}`, m, 2*i)}
		r.Partition = int32(hash.Partition(r, int(s.partitions)))
		s.append(r)
	}
}

// runAt runs the pipeline to the end of its input with its clock set to now, and returns its log.
func (s *site) runAt(now time.Time, dir string) *logged {
	s.Helper()
	p, err := plan.Compile(oldCopySQL, "w")
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	log := new(logged)
	_, err = Run(ctx, Config{
		Broker: s.at, Program: p, Instances: []string{"a"}, UntilEnd: true, CommitInterval: 20 * time.Millisecond, StateDir: dir,
		Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil || ctx.Err() != nil {
		s.Fatalf("%v, %v\n%s", err, ctx.Err(), log)
	}
	return log
}

// windows returns the written rows, sorted.
func (s *site) windows() (all []string) {
	s.Helper()
	s.read("windows", func(r *kgo.Record) { all = append(all, string(r.Value)) })
	slices.Sort(all)
	return all
}

func (s *site) keepTombstones(d time.Duration) {
	s.Helper()
	ms := fmt.Sprint(d.Milliseconds())
	set, err := s.admin.AlterTopicConfigs(s.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "delete.retention.ms", Value: &ms}}, "w.stage1.changelog")
	if err != nil || set[0].Err != nil {
		s.Fatal(err, set)
	}
}
