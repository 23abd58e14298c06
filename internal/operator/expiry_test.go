package operator

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// expiringSQL has each operator whose state expires, in one stage over tables that are partitioned
// by id.
const expiringSQL = `%s
CREATE TABLE readings (id STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json');
CREATE TABLE devices (id STRING, owner STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE counts (id STRING, n BIGINT, vs BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE tops (id STRING, v BIGINT, n BIGINT, PRIMARY KEY (id, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'tops', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE owned (id STRING, v INT, owner STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'owned', 'key.format' = 'raw', 'value.format' = 'json');
INSERT INTO counts SELECT id, COUNT(*), COUNT(DISTINCT v) FROM readings GROUP BY id;
INSERT INTO tops SELECT id, v, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY v) AS n FROM readings) WHERE n <= 2;
INSERT INTO tops SELECT id, c, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY c) AS n FROM (SELECT id, v, COUNT(*) AS c FROM readings GROUP BY id, v)) WHERE n <= 2;
INSERT INTO owned SELECT r.id, v, owner FROM readings AS r LEFT JOIN devices AS d ON r.id = d.id;`

// expiringTask runs transactions of one task and rebuilds its state from the changelog in each.
type expiringTask struct {
	*testing.T
	program *plan.Program
	store   *state.Store
	now     time.Time
	expired int
	deleted int // tombstones
}

func newExpiringTask(t *testing.T, sql string) *expiringTask {
	t.Helper()
	x := &expiringTask{T: t, store: state.Memory(), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	x.replan(sql)
	return x
}

// replan runs other SQL over the state.
func (x *expiringTask) replan(sql string) {
	x.Helper()
	program, err := plan.Compile(sql, "expiring")
	if err != nil {
		x.Fatal(err)
	}
	if len(program.Stages) != 1 {
		x.Fatal("the pipeline has several stages")
	}
	x.program = program
}

// task returns the task as it is after a restart.
func (x *expiringTask) task() *Task {
	x.Helper()
	rebuilt := state.Memory()
	for op := range uint16(x.store.Operators()) { //nolint:gosec // small number
		for _, window := range x.store.Windows(op) {
			x.store.Scan(op, window, func(key, value []byte) bool {
				rebuilt.Put(op, window, bytes.Clone(key), bytes.Clone(value))
				return true
			})
		}
	}
	if err := rebuilt.Commit(x.store.Offset()); err != nil {
		x.Fatal(err)
	}
	x.store = rebuilt
	task, err := New(Config{Program: x.program, Stage: x.program.Stages[0], Peers: 1, Partitions: func(string) int32 { return 1 }, Store: x.store})
	if err != nil {
		x.Fatal(err)
	}
	return task
}

// send runs rows of a topic through the task in one transaction, after another attempt that is
// aborted.
func (x *expiringTask) send(topic string, rows ...[2]string) {
	x.Helper()
	var records []*kgo.Record
	for i, row := range rows {
		records = append(records, &kgo.Record{Topic: topic, Offset: int64(i), Key: []byte(row[0]), Value: []byte(row[1])})
	}
	task := x.task()
	for attempt := range 2 {
		out := &Output{}
		if len(records) > 0 {
			if err := task.Step(topic, records, x.now, out); err != nil {
				x.Fatal(err)
			}
		} else {
			task.Expire(x.now)
		}
		if err := task.FinishTransaction(out); err != nil {
			x.Fatal(err)
		}
		if attempt == 0 {
			x.store.Abort()
			task.Rollback()
			continue
		}
		x.expired += out.Expired
	}
	x.store.Changes(func(_, value []byte) {
		if value == nil {
			x.deleted++
		}
	})
	if err := x.store.Commit(x.store.Offset() + 1); err != nil {
		x.Fatal(err)
	}
}

// entries counts the entries of operators, except for a number that does not belong to a key.
func (x *expiringTask) entries() (n int) {
	for op := watermarkEntry + 1; int(op) < x.store.Operators(); op++ {
		for _, window := range x.store.Windows(op) {
			x.store.Scan(op, window, func(key, _ []byte) bool {
				if !bytes.Equal(key, nextKey) {
					n++
				}
				return true
			})
		}
	}
	return n
}

func (x *expiringTask) sendSome(ids ...string) {
	for _, id := range ids {
		x.send("readings", [2]string{id, fmt.Sprintf(`{"id":%q,"v":1}`, id)}, [2]string{id, fmt.Sprintf(`{"id":%q,"v":2}`, id)})
		x.send("devices", [2]string{id, `{"owner":"o"}`})
	}
}

const oneHour = "SET 'table.exec.state.ttl' = '1 h';"

// Without any further rows, transactions delete all state, and the changelog gets a tombstone for
// each entry.
func TestExpiry(t *testing.T) {
	x := newExpiringTask(t, fmt.Sprintf(expiringSQL, oneHour))
	x.sendSome("a", "b")
	x.now = x.now.Add(40 * time.Minute)
	x.sendSome("b")
	entries, perKey := x.entries(), x.entries()/2
	x.now = x.now.Add(30 * time.Minute)
	task := x.task()
	if !task.ExpiryDue(x.now) {
		t.Fatal("nothing is due 70 minutes after the last change")
	}
	x.send("")
	if left := entries - x.entries(); left < perKey-2 || left > perKey+2 || x.expired == 0 {
		t.Errorf("%d of %d entries are left after one of two keys has expired", x.entries(), entries)
	}
	x.now = x.now.Add(2 * time.Hour)
	before := x.entries()
	x.deleted = 0
	x.send("")
	if n := x.entries(); n != 0 || x.deleted != before {
		t.Errorf("%d entries are left after all keys have expired; %d entries and %d tombstones", n, before, x.deleted)
	}
	if x.task().ExpiryDue(x.now.Add(24 * time.Hour)) {
		t.Error("an empty state has something to expire")
	}
}

// A transaction deletes a limited number of keys.
func TestExpiryIsBounded(t *testing.T) {
	x := newExpiringTask(t, oneHour+`
CREATE TABLE readings (id STRING) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json');
CREATE TABLE seen (id STRING) WITH ('connector' = 'kafka', 'topic' = 'seen', 'format' = 'json');
INSERT INTO seen SELECT DISTINCT id FROM readings;`)
	var rows [][2]string
	for i := range 2*sweepKeys + 1 {
		id := fmt.Sprint("device", i)
		rows = append(rows, [2]string{id, fmt.Sprintf(`{"id":%q}`, id)})
	}
	x.send("readings", rows...)
	x.now = x.now.Add(2 * time.Hour)
	for _, want := range []int{sweepKeys, 2 * sweepKeys, 2*sweepKeys + 1} {
		if !x.task().ExpiryDue(x.now) {
			t.Fatalf("nothing is due after %d of %d keys", x.expired, len(rows))
		}
		if x.send(""); x.expired != want {
			t.Errorf("%d keys have expired, want %d", x.expired, want)
		}
	}
	if x.task().ExpiryDue(x.now) || x.entries() != 0 {
		t.Errorf("%d entries are left", x.entries())
	}
}

// State from a run without TTL gets its stamps in the first transactions with one. A run without
// TTL in between, whose changes set no stamps, is not forgotten.
func TestExpiryIsSwitchedOn(t *testing.T) {
	x := newExpiringTask(t, fmt.Sprintf(expiringSQL, ""))
	x.sendSome("a", "b")
	x.now = x.now.Add(24 * time.Hour)
	x.replan(fmt.Sprintf(expiringSQL, oneHour))
	x.sendSome("b")
	x.now = x.now.Add(50 * time.Minute)
	x.send("")
	if x.expired != 0 {
		t.Errorf("%d keys have expired within an hour of the first run with a TTL", x.expired)
	}
	x.replan(fmt.Sprintf(expiringSQL, ""))
	x.sendSome("a")
	x.now = x.now.Add(50 * time.Minute)
	x.replan(fmt.Sprintf(expiringSQL, oneHour))
	x.sendSome("b")
	if x.expired != 0 {
		t.Errorf("%d keys have expired, although a run without TTL has changed them 50 minutes ago", x.expired)
	}
	x.now = x.now.Add(2 * time.Hour)
	if x.send(""); x.entries() != 0 {
		t.Errorf("%d entries are left after all keys have expired", x.entries())
	}
}

// A shorter or longer TTL applies to the stamps of the earlier one.
func TestExpiryIsChanged(t *testing.T) {
	x := newExpiringTask(t, fmt.Sprintf(expiringSQL, "SET 'table.exec.state.ttl' = '30 d';"))
	x.sendSome("a")
	x.replan(fmt.Sprintf(expiringSQL, oneHour))
	x.now = x.now.Add(24 * time.Hour)
	if x.send(""); x.entries() != 0 {
		t.Errorf("%d entries are left after the TTL was shortened", x.entries())
	}
	x.sendSome("a")
	x.replan(fmt.Sprintf(expiringSQL, "SET 'table.exec.state.ttl' = '30 d';"))
	x.now = x.now.Add(24 * time.Hour)
	if x.send(""); x.entries() == 0 {
		t.Error("state has expired after the TTL was raised")
	}
}
