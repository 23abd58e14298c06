package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/txtest"
)

// The broker refuses a record of the transaction: none of it becomes visible, and the next session
// writes all of it.
func TestScriptWriteRefused(t *testing.T) {
	for topic, answer := range map[string]*kerr.Error{
		scriptChangelog: kerr.RecordListTooLarge,
		"sums":          kerr.UnknownServerError,
		"copies":        kerr.TransactionAbortable, // as when the broker does not add the partition to the transaction (KIP-890)
	} {
		t.Run(topic, func(t *testing.T) {
			inMemory(t, func(s *script) {
				s.start("a")
				s.send(10)
				s.processed()
				refused := s.broker.RefuseWrite(topic, answer)
				s.send(10)
				refused()
				s.processed()
				s.send(10)
				s.processed()
				s.wantAborts("a", map[string]int64{AbortWrite: 1})
			})
		})
	}
}

// A process dies when everything is written and nothing is committed: its local copy must be that
// of the last commit.
func TestScriptCrashBeforeCommit(t *testing.T) {
	everyScript(t, func(s *script) {
		s.start("a", crashing)
		s.send(10)
		s.processed()
		commit := s.broker.Hold(txtest.Commit(s.id("a")))
		s.send(10)
		commit.Await()
		s.consistent() // of the first ten
		s.crash("a")
		commit.HangUp()
		s.start("a")
		s.processed()
	})
}

// A process dies after its commit and before it learns the outcome: its local copy is older than
// the changelog.
func TestScriptCrashAfterCommit(t *testing.T) {
	everyScript(t, func(s *script) {
		s.start("a", crashing)
		s.send(10)
		s.processed()
		commit := s.broker.Hold(txtest.Commit(s.id("a")))
		s.send(10)
		commit.Await()
		s.crash("a")
		commit.DoAndHangUp()
		s.committed(0)
		s.consistent()
		s.start("a")
		s.send(10)
		s.processed()
	})
}

// The group's offsets were set back by hand. They are corrected with the member id and generation,
// so that a worker that has lost the partition in the meantime can't do it.
func TestScriptHealedByMember(t *testing.T) {
	inMemory(t, func(s *script) {
		s.start("a")
		s.send(10)
		s.processed()
		s.stop("a")
		var back kadm.Offsets
		for p := range int32(scriptPartitions) {
			back.AddOffset("readings", p, 1, -1)
		}
		if err := kadm.NewClient(s.broker.Client()).CommitAllOffsets(s.Context(), scriptGroup, back); err != nil {
			s.Fatal(err)
		}
		heal := s.broker.Hold(txtest.Offsets(s.id("a")))
		s.start("a")
		req := heal.Await().(*kmsg.TxnOffsetCommitRequest) //nolint:forcetypeassert // guaranteed by Offsets
		g := s.broker.GroupInfo(scriptGroup)
		if len(g.Members) != 1 || req.MemberID != g.Members[0].MemberID || req.Generation != g.Epoch {
			s.Errorf("the offsets are those of member %q in generation %d, and the group has %v in generation %d", req.MemberID, req.Generation, g.Members, g.Epoch)
		}
		heal.Answer(kerr.IllegalGeneration)
		s.processed()
		s.wantAborts("a", map[string]int64{AbortRebalance: 1})
		s.wantSessions("a", 1)
	})
}

const windowing = `
SET 'pipeline.name' = 'p';
CREATE TABLE readings (sensor STRING NOT NULL, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json',
  'key.format' = 'raw', 'key.fields' = 'sensor', 'value.fields-include' = 'EXCEPT_KEY', 'scan.startup.mode' = 'earliest-offset'%s);
CREATE TABLE panes (sensor STRING, s TIMESTAMP(3), c BIGINT) WITH ('connector' = 'kafka', 'topic' = 'panes', 'format' = 'json');
INSERT INTO panes SELECT sensor, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY sensor, window_start, window_end;`

// sendAt writes a reading to each partition for each second.
func (s *script) sendAt(seconds ...int) {
	s.Helper()
	var records []*kgo.Record
	for _, at := range seconds {
		for p := range int32(scriptPartitions) {
			records = append(records, &kgo.Record{Topic: "readings", Partition: p, Key: sensorOf(p, 0), Value: fmt.Appendf(nil, `{"ts":"2026-01-01 00:00:%02d"}`, at)})
		}
	}
	s.broker.Write(records...)
}

// wantPanes checks the windows of each partition's sensor: the number of readings by the second at
// which the window starts.
func (s *script) wantPanes(want map[int]int) {
	s.Helper()
	for p := range int32(scriptPartitions) {
		got := make(map[int]int)
		for _, records := range s.broker.Committed("panes") {
			for _, r := range records {
				var row struct {
					Sensor string
					S      string
					C      int
				}
				var second int
				err := json.Unmarshal(r.Value, &row)
				if _, scanErr := fmt.Sscanf(row.S, "2026-01-01 00:00:%02d", &second); err != nil || scanErr != nil {
					s.Fatalf("%s: %v", r.Value, err)
				}
				if row.Sensor == string(sensorOf(p, 0)) {
					if got[second] != 0 {
						s.Errorf("the window of %s at %d comes twice", row.Sensor, second)
					}
					got[second] = row.C
				}
			}
		}
		if !maps.Equal(got, want) {
			s.Errorf("partition %d has windows %v, expected %v", p, got, want)
		}
	}
}

// readAll waits until the group has committed all readings of both partitions.
func (s *script) readAll() {
	s.Helper()
	for p := range int32(scriptPartitions) {
		s.committed(p)
	}
}

// A transaction that has advanced the watermark is aborted: its readings are read again, and are
// not late.
func TestScriptWatermarkAfterAbort(t *testing.T) {
	t.Parallel()
	s := newScript(t, fmt.Sprintf(windowing, ""))
	s.start("a")
	s.sendAt(1)
	s.readAll()
	refused := s.broker.Refuse(txtest.Offsets(s.id("a")), kerr.IllegalGeneration)
	s.sendAt(2, 5, 12, 25)
	refused.Await()
	s.readAll()
	s.sendAt(59)
	s.readAll()
	s.wantPanes(map[int]int{0: 3, 10: 1, 20: 1})
	s.wantSessions("a", 1)
	s.stop("a")
}

// A bounded pipeline ends and closes each of its windows once, whichever of its transactions is
// aborted, even the last one, and even if a partition is empty, so that no record ends it again.
func TestScriptAbortOfBoundedEnd(t *testing.T) {
	for nth := 1; nth <= 3; nth++ {
		t.Run(fmt.Sprint(nth), func(t *testing.T) {
			t.Parallel()
			s := newBounded(t)
			s.sendAt(1, 5, 12, 25)
			s.abortNth(nth, func(c *Config) { c.MaxRecords = 3 })
			s.wantPanes(map[int]int{0: 2, 10: 1, 20: 1})
		})
	}
	t.Run("empty", func(t *testing.T) {
		t.Parallel()
		s := newBounded(t)
		s.broker.Write(&kgo.Record{Topic: "readings", Partition: 1, Key: sensorOf(1, 0), Value: []byte(`{"ts":"2026-01-01 00:00:01"}`)})
		s.abortNth(1)
	})
}

func newBounded(t *testing.T) *script {
	t.Helper()
	return newScript(t, fmt.Sprintf(windowing, ", 'scan.bounded.mode' = 'latest-offset'"))
}

// abortNth runs a worker to the end of its inputs, and has the group refuse the offsets of its nth
// transaction.
func (s *script) abortNth(nth int, with ...func(*Config)) {
	s.Helper()
	offsets := s.broker.Hold(txtest.Offsets(s.id("a")))
	s.start("a", with...)
	for range nth - 1 {
		next := s.broker.Hold(txtest.Offsets(s.id("a")))
		offsets.Await()
		offsets.Pass()
		offsets = next
	}
	offsets.Await()
	offsets.Answer(kerr.IllegalGeneration)
	s.broker.AwaitGroup(scriptGroup, func(*kfake.GroupInfo) bool {
		return s.workers["a"].status.Snapshot().Workers[0].Aborted[AbortRebalance] == 1
	})
	if err := s.ended("a"); err != nil {
		s.Error(err)
	}
}
