package engine

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/syncbuf"
	"weir.example/weir/internal/txtest"
)

// deleteUnread deletes readings that the group has not read: about half of them in one partition,
// and all in the others. It returns what it deleted, by partition.
func (s *site) deleteUnread() (gone map[int32]SkippedRange, n int64) {
	s.Helper()
	lag, err := s.admin.Lag(s.Context(), "weir-p")
	if err != nil {
		s.Fatal(err)
	}
	l := lag["weir-p"]
	gone = make(map[int32]SkippedRange)
	var upTo kadm.Offsets
	for partition, m := range l.Lag["readings"] {
		if m.Lag == 0 {
			continue
		}
		to := m.End.Offset
		if partition == 0 {
			to -= m.Lag / 2
		}
		if to == m.Commit.At {
			continue
		}
		gone[partition] = SkippedRange{Topic: "readings", Partition: partition, From: m.Commit.At, To: to}
		n += to - m.Commit.At
		upTo.AddOffset("readings", partition, to, -1)
	}
	s.deleteRecords(upTo)
	return gone, n
}

func (s *site) deleteRecords(upTo kadm.Offsets) {
	s.Helper()
	if got, err := s.admin.DeleteRecords(s.Context(), upTo); err != nil || got.Error() != nil {
		s.Fatal(err, got.Error())
	}
}

// wantSkipped compares the skipped ranges in a status with what was deleted.
func (s *site) wantSkipped(status *Status, gone map[int32]SkippedRange, n int64) {
	s.Helper()
	snapshot := status.Snapshot()
	if len(snapshot.SkippedRanges) != len(gone) || snapshot.Skipped["readings"] != n {
		s.Errorf("reported %+v, %v in all; want %+v, %d in all", snapshot.SkippedRanges, snapshot.Skipped, gone, n)
	}
	for _, got := range snapshot.SkippedRanges {
		if want := gone[got.Partition]; got.Topic != want.Topic || got.From != want.From || got.To != want.To || got.Why == "" || got.At.IsZero() {
			s.Errorf("reported %+v, want %+v", got, want)
		}
	}
}

// Rows are deleted before they are read: the pipeline continues with the remaining ones, and
// reports the deleted ones once.
func TestDeletedBeforeRead(t *testing.T) {
	everywhere(t, func(s *site) {
		s.send(100)
		gone, n := s.deleteUnread()
		status := NewStatus(s.program(accidentPipelines[s.kind]))
		metrics := NewMetrics(prometheus.NewRegistry())
		s.cfg.Status, s.cfg.Metrics = status, metrics
		s.run()
		log := s.log.String()
		s.wantSkipped(status, gone, n)
		for _, g := range gone {
			if want := fmt.Sprintf("topic=readings partition=%d from=%d to=%d", g.Partition, g.From, g.To); !strings.Contains(log, want) {
				s.Errorf("the log has no %q:\n%s", want, log)
			}
		}
		s.sent -= int(n)
		s.want()
		s.wantLag(0)
		s.cfg.Status = NewStatus(s.program(accidentPipelines[s.kind]))
		s.send(20)
		s.run()
		s.want()
		s.wantSkipped(s.cfg.Status, nil, 0)
	})
}

// With 'properties.auto.offset.reset' = 'none' the pipeline stops instead, until the loss is
// accepted.
func TestDeletedBeforeReadStops(t *testing.T) {
	s := newSite(t, "keyed", 2)
	s.send(50)
	s.run()
	s.send(50)
	gone, n := s.deleteUnread()
	source := strings.ReplaceAll(accidentSource, "'scan.startup.mode' = 'earliest-offset'", "'scan.startup.mode' = 'earliest-offset', 'properties.auto.offset.reset' = 'none'")
	p, err := plan.Compile(source+accidentPipelines["keyed"], "p")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cfg := Config{Broker: s.at, UntilEnd: true, Program: p, Instances: []string{"a"}, CommitInterval: 20 * time.Millisecond}
	_, err = Run(ctx, cfg)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("it went on: %v, %v", err, ctx.Err())
	}
	for _, want := range []string{"readings-", "deleted before they were read", "'properties.auto.offset.reset' is 'none'", "--accept-loss readings/"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not have %q", err, want)
		}
	}
	if got := s.results(); got != "sums: 7 keys, total 50\n" {
		t.Errorf("it committed something: %s", got)
	}
	for _, g := range gone {
		cfg.AcceptLoss = append(cfg.AcceptLoss, Gap{g.Topic, g.Partition, g.From, g.To})
	}
	if _, err = Run(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	s.sent -= int(n)
	s.want()
}

// A table that may be read only from the group's offset requires one.
func TestNoOffsetToReadFrom(t *testing.T) {
	s := newSite(t, "stateless", 2)
	s.send(10)
	source := strings.ReplaceAll(accidentSource, "'scan.startup.mode' = 'earliest-offset'", "'scan.startup.mode' = 'group-offsets', 'properties.auto.offset.reset' = 'none'")
	p, err := plan.Compile(source+accidentPipelines["stateless"], "p")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cfg := Config{Broker: s.at, UntilEnd: true, Program: p, Instances: []string{"a"}, CommitInterval: 20 * time.Millisecond}
	if _, err := Run(ctx, cfg); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "group weir-p has no offset for readings-") {
		t.Fatalf("it ran: %v, %v", err, ctx.Err())
	}
	s.resetGroup(func(end int64) int64 { return 0 })
	if _, err := Run(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	s.want()
}

// Rows are deleted under a running pipeline that can't read them yet, because a transaction is open
// before them. It reports them whether or not more rows follow.
func TestDeletedWhileRunning(t *testing.T) {
	for _, more := range []bool{true, false} {
		t.Run(fmt.Sprintf("more=%t", more), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "keyed", 2)
			s.send(50)
			s.run()
			var log syncbuf.Buffer
			status := NewStatus(s.program(accidentPipelines["keyed"]))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				_, err := Run(ctx, Config{
					Broker: s.at, Program: s.program(accidentPipelines["keyed"]), Instances: []string{"a"}, CommitInterval: 20 * time.Millisecond, Status: status,
					gapInterval: 200 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil)),
				})
				done <- err
			}()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Errorf("%v\n%s", err, log.String())
				}
			}()
			hold, err := broker.Connect(t.Context(), s.at, kgo.TransactionalID("hold"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer hold.Close()
			eventually(t, "the pipeline runs", func() bool { return runs(status) })
			if err := hold.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			starts, err := s.admin.ListEndOffsets(t.Context(), "readings")
			if err != nil {
				t.Fatal(err)
			}
			for p := range int32(2) {
				if err := hold.ProduceSync(t.Context(), &kgo.Record{Topic: "readings", Partition: p, Key: []byte("s0"), Value: []byte(`{"n":0,"parity":0}`)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			sent := s.sent
			s.send(30)
			s.sent = sent // these will be deleted
			ends, err := s.admin.ListEndOffsets(t.Context(), "readings")
			if err != nil {
				t.Fatal(err)
			}
			gone, n, upTo := make(map[int32]SkippedRange), int64(0), kadm.Offsets{}
			ends.Each(func(o kadm.ListedOffset) {
				from, _ := starts.Lookup(o.Topic, o.Partition)
				gone[o.Partition] = SkippedRange{Topic: o.Topic, Partition: o.Partition, From: from.Offset, To: o.Offset}
				n += o.Offset - from.Offset
				upTo.AddOffset(o.Topic, o.Partition, o.Offset, -1)
			})
			s.deleteRecords(upTo)
			if err := hold.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
				t.Fatal(err)
			}
			if more {
				s.send(20)
			}
			eventually(t, "the deleted records are reported", func() bool { return status.Snapshot().Skipped["readings"] >= n })
			s.wantSkipped(status, gone, n)
			eventually(t, "the group is at the end", func() bool {
				lag, err := s.admin.Lag(t.Context(), "weir-p")
				l := lag["weir-p"]
				return err == nil && l.Lag.Total() <= 2 // markers of the transaction
			})
			if more {
				s.sent = sent + 20
			}
			s.want()
		})
	}
}

func runs(status *Status) bool {
	for _, w := range status.Snapshot().Workers {
		if w.Phase == Running {
			return len(status.Snapshot().Tasks) > 0
		}
	}
	return false
}

// eventually polls until a condition is met.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for timeout := time.After(txtest.Patience); !is(); {
		select {
		case <-poll.C:
		case <-timeout:
			t.Fatalf("not within %s: %s", txtest.Patience, what)
		}
	}
}
