package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/sinktest"
)

// kv is a table of keys and values.
const kv = "k STRING, v BIGINT"

func put(partition int32, k string, v int) *kgo.Record {
	return sinktest.Record(partition, fmt.Sprintf(`{"k":%q}`, k), fmt.Sprintf(`{"k":%q,"v":%d}`, k, v))
}

func remove(partition int32, k string) *kgo.Record {
	return sinktest.Record(partition, fmt.Sprintf(`{"k":%q}`, k), "")
}

// The last version of each key remains, whichever versions were in one batch.
func TestVersions(t *testing.T) {
	for _, rows := range []int{1, 2, 100} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			server, db, conn := database(t)
			p, of := table(t, server, db, kv, "k")
			target := newTarget(p, of)
			run(t, conn, CreateTable(of, target.jdbc))
			at := sinktest.Cluster(t, 2)
			sinktest.Write(t, at, put(0, "a", 1), put(1, "b", 1), put(0, "a", 2), remove(1, "b"), put(0, "c", 1), remove(0, "c"), put(0, "c", 3), remove(1, "never"))
			c := sinktest.Config(at, p, of, target)
			c.MaxRows = rows
			sinktest.Deliver(t, c)
			if diff := cmp.Diff([]string{"a|2", "c|3"}, query(t, conn, "SELECT * FROM t ORDER BY k")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Rows that the database refuses become dead letters with its error, alone; so do rows that can't
// be decoded, and deletions that a foreign key forbids.
func TestRefusedRows(t *testing.T) {
	server, db, conn := database(t)
	p, of := table(t, server, db, "k STRING, v BIGINT, s STRING", "k")
	target := newTarget(p, of)
	run(t, conn, `CREATE TABLE t (k text PRIMARY KEY, v bigint CHECK (v <> 7), s varchar(3) UNIQUE DEFERRABLE INITIALLY DEFERRED);
		CREATE TABLE child (k text REFERENCES t); INSERT INTO t VALUES ('parent', 1, 'p'); INSERT INTO child VALUES ('parent')`)
	at := sinktest.Cluster(t, 2)
	row := func(p int32, k string, v int, s string) *kgo.Record {
		return sinktest.Record(p, fmt.Sprintf(`{"k":%q}`, k), fmt.Sprintf(`{"k":%q,"v":%d,"s":%q}`, k, v, s))
	}
	var all []*kgo.Record
	for i := range 40 {
		all = append(all, row(int32(i%2), fmt.Sprintf("k%02d", i), i, fmt.Sprintf("s%d", i)))
	}
	all[13] = sinktest.Record(1, `{"k":"k13"}`, `{"k":"k13","v":13,"s":"\u0000"}`)
	all[21] = row(1, "k21", 21, "s20")
	all[30] = row(0, "k30", 30, "x   ") // the database would cut the spaces
	all[31] = sinktest.Record(1, `{"k":"k31"}`, `{"k":"k31","v":31}`)
	all = append(all, remove(0, "parent"))
	sinktest.Write(t, at, all...)
	done := sinktest.Deliver(t, sinktest.Config(at, p, of, target))
	got := sinktest.Letters(t, at)
	slices.Sort(got)
	for i, want := range []struct{ value, reason string }{
		{"", "violates foreign key"}, {`"k":"k07"`, "violates check constraint"}, {`"k":"k13"`, "invalid byte sequence"}, {`"k":"k21"`, "duplicate key"},
		{`"k":"k30"`, "more characters than character varying(3)"}, {`"k":"k31"`, "s"},
	} {
		if i >= len(got) || !strings.Contains(got[i], want.value) || !strings.Contains(got[i], want.reason) {
			t.Errorf("dead letter %d is not %+v:\n%s", i, want, strings.Join(got, "\n"))
		}
	}
	if len(got) != 6 || done.DeadLetters != 6 {
		t.Errorf("%d dead letters, status %+v:\n%s", len(got), done, strings.Join(got, "\n"))
	}
	if n := query(t, conn, "SELECT count(*) FROM t"); n[0] != "36" { // with the parent
		t.Errorf("%s rows", n[0])
	}
}

// open opens a session and claims partitions.
func open(t *testing.T, target *Target, partitions ...int32) (sink.Session, map[int32]int64) {
	t.Helper()
	s, err := target.Open(t.Context(), sink.Topic{Name: "test.t.out", ID: "topic"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	next, err := s.Claim(t.Context(), partitions)
	if err != nil {
		t.Fatal(err)
	}
	return s, next
}

// A claim fences the session that had the partition, and no other partition.
func TestFencing(t *testing.T) {
	server, db, conn := database(t)
	p, of := table(t, server, db, kv, "")
	run(t, conn, "CREATE TABLE t (k text, v bigint)")
	first, _ := open(t, newTarget(p, of), 0, 1)
	if err := first.Deliver(t.Context(), sinktest.Batch(0, 0, 1), nil); err != nil {
		t.Fatal(err)
	}
	second, next := open(t, newTarget(p, of), 0)
	if next[0] != 1 {
		t.Fatalf("the second session begins at %v", next)
	}
	err := first.Deliver(t.Context(), sinktest.Batch(0, 1, 2), nil)
	if !errors.As(err, new(*sink.FencedError)) {
		t.Fatalf("the fenced session delivers: %v", err)
	}
	if err := first.Deliver(t.Context(), sinktest.Batch(1, 0, 3), nil); err != nil {
		t.Errorf("its other partition: %v", err)
	}
	if err := second.Deliver(t.Context(), sinktest.Batch(0, 1, 4), nil); err != nil {
		t.Error(err)
	}
	// A batch with a partition that it has and one that it lost writes nothing.
	both := sinktest.Batch(1, 1, 5)
	both.From[0], both.Next[0] = 2, 3
	if err := first.Deliver(t.Context(), both, nil); !errors.As(err, new(*sink.FencedError)) {
		t.Errorf("a batch with a lost partition: %v", err)
	}
	if diff := cmp.Diff([]string{"k|1", "k|3", "k|4"}, query(t, conn, "SELECT * FROM t ORDER BY v")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A claim during a delivery waits for its commit, and continues behind it; if the session stops in
// its transaction, the database ends that, and the claim continues before it.
func TestClaimDuringDelivery(t *testing.T) {
	for name, dies := range map[string]bool{"commits": false, "dies": true} {
		t.Run(name, func(t *testing.T) {
			server, db, conn := database(t)
			p, of := table(t, server, db, kv, "")
			run(t, conn, "CREATE TABLE t (k text, v bigint)")
			target := newTarget(p, of)
			first, _ := open(t, target, 0)
			claimed := make(chan map[int32]int64)
			target.failpoint = func() {
				go func() {
					_, next := open(t, newTarget(p, of), 0)
					claimed <- next
				}()
				awaitLock(t, conn)
				if dies {
					first.Close()
				}
			}
			err := first.Deliver(t.Context(), sinktest.Batch(0, 0, 1), nil)
			next := <-claimed
			want := []string{"1"}
			if dies {
				want = []string{"0"}
			}
			if (err != nil) != dies || fmt.Sprint(next[0]) != want[0] {
				t.Errorf("delivery: %v; the claim continues at %v", err, next)
			}
			if diff := cmp.Diff(want, query(t, conn, "SELECT count(*) FROM t")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// awaitLock waits until a session waits for a lock.
func awaitLock(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for query(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")[0] == "0" {
		if time.Now().After(deadline) {
			t.Fatal("no session waits")
		}
	}
}

// Offsets that belong to another topic or table, or that the topic does not have, are refused.
func TestWrongOffsets(t *testing.T) {
	server, db, conn := database(t)
	p, of := table(t, server, db, kv, "k")
	target := newTarget(p, of)
	run(t, conn, CreateTable(of, target.jdbc))
	at := sinktest.Cluster(t, 1)
	sinktest.Write(t, at, put(0, "a", 1), put(0, "b", 1), put(0, "c", 1))
	sinktest.Deliver(t, sinktest.Config(at, p, of, target))

	refused := func(what, hint string) {
		t.Helper()
		c := sinktest.Config(at, p, of, target)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		running, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { sink.Run(running, c); close(done) }()
		var now sink.Snapshot
		for now.Phase != sink.Refused && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
			now = c.Status.Snapshot()
		}
		stop()
		<-done
		if !strings.Contains(now.Reason, what) || !strings.Contains(now.Reason, hint) {
			t.Errorf("the sink is %s: %s", now.Phase, now.Reason)
		}
	}
	a := admin(t, at)
	run(t, conn, "UPDATE weir_offsets SET next = 99")
	refused("has delivered test.t.out-0 up to offset 99, but the topic ends at 4", "SET next = 4 WHERE sink = 'test.t' AND part = 0")
	run(t, conn, "UPDATE weir_offsets SET next = 1")
	if _, err := a.DeleteRecords(t.Context(), kadm.Offsets{"test.t.out": {0: {Topic: "test.t.out", At: 2}}}); err != nil {
		t.Fatal(err)
	}
	refused("up to offset 1, but the topic begins at 2", "SET next = 2 WHERE sink = 'test.t' AND part = 0")
	run(t, conn, "UPDATE weir_offsets SET next = 4, target = 'public.other (k)'")
	refused("has delivered its rows so far to public.other (k), and would continue in public.t (k)", "DELETE FROM weir_offsets WHERE sink = 'test.t'")
	run(t, conn, "UPDATE weir_offsets SET target = 'public.t (k)', topic_id = 'another'")
	refused("its offsets are those of topic id another", "give this one another name")
	// Nothing was changed.
	if got := query(t, conn, "SELECT next, topic_id FROM weir_offsets"); got[0] != "4|another" {
		t.Error(got)
	}
}

// A restored older database, with rows and offsets of the same time, gets the rest again.
func TestRestoredDatabase(t *testing.T) {
	server, db, conn := database(t)
	p, of := table(t, server, db, kv, "")
	target := newTarget(p, of)
	run(t, conn, "CREATE TABLE t (k text, v bigint)")
	at := sinktest.Cluster(t, 1)
	sinktest.Write(t, at, sinktest.Record(0, "", `{"k":"a","v":1}`))
	sinktest.Deliver(t, sinktest.Config(at, p, of, target))
	run(t, conn, "CREATE TABLE t_backup AS TABLE t; CREATE TABLE o_backup AS TABLE weir_offsets")
	sinktest.Write(t, at, sinktest.Record(0, "", `{"k":"b","v":2}`))
	sinktest.Deliver(t, sinktest.Config(at, p, of, target))
	run(t, conn, "BEGIN; DELETE FROM t; INSERT INTO t TABLE t_backup; DELETE FROM weir_offsets; INSERT INTO weir_offsets TABLE o_backup; COMMIT")
	sinktest.Deliver(t, sinktest.Config(at, p, of, target))
	if diff := cmp.Diff([]string{"a|1", "b|2"}, query(t, conn, "SELECT * FROM t ORDER BY k")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
