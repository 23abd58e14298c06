package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	deleted int      // tombstones
	sent    []string // the columns v and e of the rows of the last transaction, sorted
}

// pairOf returns the columns v and e of a row; "" for a tombstone.
func pairOf(t *testing.T, row []byte) string {
	t.Helper()
	if row == nil {
		return ""
	}
	var fields struct {
		V any `json:"v"`
		E any `json:"e"`
	}
	if err := json.Unmarshal(row, &fields); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(fmt.Sprint(fields.V, " ", fields.E), "<nil>", "null")
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
		} else if err := task.Expire(x.now, out); err != nil {
			x.Fatal(err)
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
		x.sent = nil
		for _, r := range out.Records {
			x.sent = append(x.sent, pairOf(x.T, r.Value))
		}
		slices.Sort(x.sent)
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
	x := newExpiringTask(t, fmt.Sprintf(expiringGroups, oneHour))
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

const expiringGroups = `%s
CREATE TABLE readings (id STRING) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json');
CREATE TABLE seen (id STRING) WITH ('connector' = 'kafka', 'topic' = 'seen', 'format' = 'json');
INSERT INTO seen SELECT DISTINCT id FROM readings;`

// Keys without a stamp may move to a task that had stamped all of its own: it looks for them again.
// The move may be interrupted after any of the entries, and a task may then finish its stamps.
func TestKeysMoveWithoutStamps(t *testing.T) {
	for _, moved := range []int{sweepKeys, 3 * sweepKeys} { // entries before the interruption
		untimed, timed := fmt.Sprintf(expiringGroups, ""), fmt.Sprintf(expiringGroups, oneHour)
		tasks := make([]*expiringTask, 3)
		for i := range tasks {
			tasks[i] = newExpiringTask(t, untimed)
		}
		readings := func(n int) (rows [][2]string) {
			for i := range n {
				rows = append(rows, [2]string{fmt.Sprint("device", i), fmt.Sprintf(`{"id":"device%d"}`, i)})
			}
			return rows
		}
		tasks[1].send("readings", readings(2*sweepKeys)...)
		for _, x := range tasks[:2] { // the first has no keys, so that all of them have a stamp
			x.replan(timed)
			x.send("")
		}
		mover, err := NewMover(tasks[0].program.Stages[0], 3, nil)
		if err != nil {
			t.Fatal(err)
		}
		var stores []*state.Store
		for _, x := range tasks {
			x.replan(timed)
			stores = append(stores, x.store)
		}
		for attempt := range 2 {
			mover.Restamp(stores)
			mover.CopyWatermarks(stores[0], stores[2])
			interrupted := fmt.Errorf("interrupted")
			for i, from := range stores {
				n := 0
				err := mover.Find(from, int32(i), func(e *Moved) error {
					if n++; attempt == 0 && n > moved {
						return interrupted
					}
					return mover.Move(e, from, stores[e.To])
				})
				if err != nil && !errors.Is(err, interrupted) {
					t.Fatal(err)
				}
			}
			for i, x := range tasks {
				if err := x.store.Commit(x.store.Offset() + 1); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if attempt == 0 && i < 2 {
						x.send("")
					}
				}
				stores[i] = x.store
			}
		}
		for i, x := range tasks {
			for range 6 {
				x.now = x.now.Add(2 * time.Hour)
				x.send("")
			}
			if n := x.entries(); n > 0 {
				t.Errorf("interrupted after %d entries: task %d has %d entries after all keys have expired", moved, i, n)
			}
		}
	}
}

// joinedTables are two tables with watermarks, in one stage.
const joinedTables = `SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE readings (id STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json');
CREATE TABLE events (id STRING, e STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'events', 'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json');
CREATE TABLE pairs (id STRING, v INT, e STRING) WITH ('connector' = 'kafka', 'topic' = 'pairs', 'value.format' = 'json');
CREATE TABLE outer_pairs (id STRING, v INT, e STRING, PRIMARY KEY (id, v) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'pairs', 'key.format' = 'json', 'value.format' = 'json');
`

// The rows that a join keeps expire by the earlier of the times that its inputs have reached, since
// the other input may still have matches. With STATE_TTL, each input has its own TTL. Each
// transaction is aborted once, and the state is rebuilt before each.
func TestJoinExpiresByWatermark(t *testing.T) {
	const join = " FROM readings AS r JOIN events AS e ON r.id = e.id"
	for name, c := range map[string]struct {
		sql  string
		want []string // the values that each step emits
		left int      // rows of the state at the end
	}{
		"setting": {"INSERT INTO pairs SELECT r.id, v, e" + join, []string{"", "1 first", "", "1 second", "", "3 third", "", "", ""}, 1},
		"hints": {"INSERT INTO pairs SELECT /*+ STATE_TTL('r' = '10 h', 'e' = '0') */ r.id, v, e" + join,
			[]string{"", "1 first", "", "1 second", "1 third", "3 first, 3 second, 3 third", "2 fourth, 4 fourth", "", ""}, 6},
		"the other way round": {"INSERT INTO pairs SELECT /*+ STATE_TTL('r' = '0', 'e' = '10 h') */ r.id, v, e" + join,
			[]string{"", "1 first", "", "1 second", "1 third", "3 first, 3 second, 3 third", "2 fourth, 4 fourth", "", "2 fifth, 4 fifth"}, 6},
		"outer": {"INSERT INTO outer_pairs SELECT /*+ STATE_TTL('r' = '10 h') */ r.id, v, e FROM readings AS r LEFT JOIN events AS e ON r.id = e.id AND e IN ('first', 'fourth', 'fifth')",
			[]string{"1 null", "1 first", "2 null", "", "", "3 null, 4 null", "2 fourth, 4 fourth", "5 null", ""}, 2},
		"semi": {"INSERT INTO pairs SELECT id, v, 'x' FROM readings WHERE id IN (SELECT id FROM events)",
			[]string{"", "1 x", "", "", "", "3 x", "", "", ""}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExpiringTask(t, joinedTables+c.sql)
			for i, step := range [][]string{
				{"readings", `a {"v":1,"ts":"2026-01-01 00:00:00"}`},
				{"events", `a {"e":"first","ts":"2026-01-01 00:10:00"}`},
				// The readings are two hours ahead of the events, whose next row still meets the
				// first reading.
				{"readings", `b {"v":2,"ts":"2026-01-01 02:00:00"}`},
				{"events", `a {"e":"second","ts":"2026-01-01 00:30:00"}`},
				// Now both have passed the first reading by more than an hour, but not by ten.
				{"events", `a {"e":"third","ts":"2026-01-01 03:00:00"}`},
				{"readings", `a {"v":3,"ts":"2026-01-01 05:00:00"}`, `b {"v":4,"ts":"2026-01-01 05:01:00"}`},
				{"events", `b {"e":"fourth","ts":"2026-01-01 12:50:00"}`},
				{"readings", `c {"v":5,"ts":"2026-01-01 15:30:00"}`},
				{"events", `b {"e":"fifth","ts":"2026-01-01 15:30:00"}`},
			} {
				x.now = x.now.Add(30 * time.Hour) // time does not pass by the clock
				var rows [][2]string
				for _, row := range step[1:] {
					id, fields, _ := strings.Cut(row, " ")
					rows = append(rows, [2]string{id, fmt.Sprintf(`{"id":%q,%s`, id, fields[1:])})
				}
				x.send(step[0], rows...)
				if got := strings.Join(x.sent, ", "); got != c.want[i] {
					t.Errorf("%s %s: emitted %q, want %q", step[0], step[1:], got, c.want[i])
				}
			}
			x.send("")
			n := 0
			for in := range uint16(2) {
				x.store.ScanRange(joinOf(x.program).State+leftRows+in, 0, nil, nil, func([]byte, []byte) bool { n++; return true })
			}
			if n != c.left {
				t.Errorf("%d rows are in the state, want %d", n, c.left)
			}
		})
	}
}

func joinOf(p *plan.Program) (join *plan.Relation) {
	for _, r := range p.Stages[0].States() {
		if _, ok := r.Op.(*plan.RegularJoin); ok {
			join = r
		}
	}
	return join
}
