package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
)

// world is a flow with a correct writer, which the flow's pipeline processes.
type world struct {
	t       *testing.T
	at      broker.Config
	admin   *kadm.Client
	writer  *kgo.Client
	acks    string
	ordinal int
}

const worldDevices = 8

func newWorld(t *testing.T) *world {
	t.Helper()
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	w := &world{t: t, at: broker.Config{Brokers: []string{b.Addr()}}, acks: filepath.Join(t.TempDir(), "acks.ndjson")}
	w.writer, err = broker.Connect(t.Context(), w.at, kgo.TransactionalID("writer"), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.writer.Close)
	w.admin = kadm.NewClient(w.writer)
	if err := broker.EnsureTopics(t.Context(), w.admin, []broker.Topic{{Name: "sensor_data_tx", Partitions: 4}}); err != nil {
		t.Fatal(err)
	}
	return w
}

// reading returns a reading of a device; a device has one every two seconds.
func (w *world) reading(device, seq int) *kgo.Record {
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seq) * 2 * time.Second)
	return &kgo.Record{Topic: "sensor_data_tx", Key: fmt.Appendf(nil, "d%d", device), Value: fmt.Appendf(nil,
		`{"device_id":"d%d","sensor":"temperature","value":%d,"unit":"Cel","ts":"%s","seq":%d,"boot":"b"}`, device, seq, at.Format("2006-01-02T15:04:05.000Z"), seq)}
}

// readings returns one reading per device.
func (w *world) readings(seq int) []*kgo.Record {
	var all []*kgo.Record
	for d := range worldDevices {
		all = append(all, w.reading(d, seq))
	}
	return all
}

// transact writes a marked transaction. count is the number of records that the mark claims.
func (w *world) transact(end kgo.TransactionEndTry, count int, records ...*kgo.Record) {
	w.t.Helper()
	for _, r := range records {
		r.Headers = []kgo.RecordHeader{{Key: "weir-tx", Value: fmt.Appendf(nil, "writer/%d/%d", w.ordinal, count)}}
	}
	w.ordinal++
	if err := w.writer.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.writer.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.writer.EndTransaction(w.t.Context(), end); err != nil {
		w.t.Fatal(err)
	}
}

// write writes and acknowledges readings with the numbers from, …, to-1.
func (w *world) write(from, to int) {
	w.t.Helper()
	for seq := from; seq < to; seq++ {
		w.transact(kgo.TryCommit, worldDevices, w.readings(seq)...)
	}
	w.acknowledge(from, to)
}

func (w *world) acknowledge(from, to int) {
	w.t.Helper()
	f, err := os.OpenFile(w.acks, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	for d := range worldDevices {
		fmt.Fprintf(f, `{"outcome":"acked","device":"d%d","boot":"b","from":%d,"to":%d}`+"\n", d, from, to-1)
	}
}

// process runs the flow's pipeline on all input so far.
func (w *world) process() {
	w.t.Helper()
	program, err := plan.Compile(flowSQL, flowName)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := engine.Run(w.t.Context(), engine.Config{Broker: w.at, Program: program, Instances: []string{"a"}, UntilEnd: true}); err != nil {
		w.t.Fatal(err)
	}
}

// put writes records directly, bypassing the pipeline.
func (w *world) put(records ...*kgo.Record) {
	w.t.Helper()
	client, err := broker.Connect(w.t.Context(), w.at)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// last returns the last record of a topic.
func (w *world) last(topic string) *kgo.Record {
	w.t.Helper()
	var last *kgo.Record
	if err := broker.ReadAll(w.t.Context(), w.at, topic, nil, func(r *kgo.Record) error { last = r; return nil }); err != nil {
		w.t.Fatal(err)
	}
	return &kgo.Record{Topic: topic, Key: last.Key, Value: last.Value}
}

func (w *world) final() *Verdict {
	w.t.Helper()
	v, err := Oracle{Broker: w.at, Acks: []string{w.acks}, Wait: 3 * time.Second}.Final(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// The oracle finds nothing wrong in a correct flow, and detects each way of breaking exactly-once.
func TestOracleFindsFaults(t *testing.T) {
	const readings = 40
	for _, test := range []struct {
		name  string
		spoil func(w *world)
		wrong string // substring of a finding; "" if everything is correct
	}{
		{"honest", func(w *world) { w.write(0, readings); w.process() }, ""},
		{"honest, with an aborted transaction", func(w *world) {
			w.write(0, readings)
			w.transact(kgo.TryAbort, worldDevices, w.readings(readings)...)
			w.process()
		}, ""},
		{"one record dropped", func(w *world) {
			w.write(0, readings)
			w.transact(kgo.TryCommit, worldDevices-1, w.readings(readings)[1:]...)
			w.acknowledge(readings, readings+1)
			w.process()
		}, "C1 lost"},
		{"one record repeated", func(w *world) {
			w.write(0, readings)
			w.transact(kgo.TryCommit, 1, w.reading(3, readings-1))
			w.process()
		}, "C1 duplicate"},
		{"one transaction torn", func(w *world) {
			w.write(0, readings)
			w.transact(kgo.TryCommit, worldDevices, w.readings(readings)[:worldDevices-1]...)
			w.process()
		}, "C3 torn"},
		{"offsets committed early", func(w *world) {
			w.write(0, readings)
			w.process()
			w.write(readings, 2*readings)
			ends, err := w.admin.ListEndOffsets(w.t.Context(), "sensor_data_tx")
			if err != nil {
				w.t.Fatal(err)
			}
			if err := w.admin.CommitAllOffsets(w.t.Context(), "weir-"+flowName, ends.Offsets()); err != nil {
				w.t.Fatal(err)
			}
		}, "C4 " + flowDevices},
		{"uncommitted readings counted", func(w *world) {
			w.write(0, readings)
			w.transact(kgo.TryAbort, worldDevices, w.readings(readings)...)
			w.process()
			w.countUncommitted()
		}, "C4 " + flowDevices},
		{"a window twice", func(w *world) {
			w.write(0, readings)
			w.process()
			w.put(w.last(flowWindows))
		}, "C5"},
		{"a group lost", func(w *world) {
			w.write(0, readings)
			w.process()
			w.put(&kgo.Record{Topic: flowDevices, Key: w.last(flowDevices).Key})
		}, "C4 " + flowDevices},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.spoil(w)
			v := w.final()
			found := strings.Join(v.Findings(), "\n")
			if v.Clean() != (test.wrong == "") || !strings.Contains(found, test.wrong) {
				t.Errorf("clean %t, found %q, expected %q", v.Clean(), found, test.wrong)
			}
			if v.Groups != worldDevices+1 {
				t.Errorf("%d groups compared, expected %d", v.Groups, worldDevices+1)
			}
		})
	}
}

// countUncommitted writes the groups that a pipeline with read_uncommitted would.
func (w *world) countUncommitted() {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.at.Brokers...), kgo.ConsumeTopics("sensor_data_tx"), kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	counts := make(map[string]figure)
	for quiet := false; !quiet; {
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		fetches := client.PollFetches(ctx)
		cancel()
		quiet = fetches.NumRecords() == 0
		fetches.EachRecord(func(r *kgo.Record) { counts[string(r.Key)] = counts[string(r.Key)].plus(0) })
	}
	var records []*kgo.Record
	for device, f := range counts {
		records = append(records, &kgo.Record{Topic: flowDevices, Key: []byte(device), Value: fmt.Appendf(nil, `{"k":%q,"n":%d,"total":0}`, device, f.N)})
	}
	w.put(records...)
}

// Comparing an accident's rows detects each kind of difference. Partial rows pass only if they are
// correct as far as they go.
func TestOutcomeCompare(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rows := []row{{Key: "a", Value: 3, TS: at}, {Key: "a", Value: 4, TS: at.Add(time.Second)}, {Key: "b", Value: 5, TS: at}, {Key: "b", Value: 1, TS: endOfTime}}
	near := joinedRow{"near", "a", 4, 3}
	first := windowKey{"a", "2026-03-01 12:00:00"}
	for _, test := range []struct {
		name              string
		change            func(o outcome)
		complete, partial bool // correct as complete rows, as partial ones
	}{
		{"right", func(outcome) {}, true, true},
		{"window missing", func(o outcome) { delete(o.windows, first) }, false, true},
		{"window twice", func(o outcome) { o.windows[first] = append(o.windows[first], o.windows[first][0]) }, false, false},
		{"window with too few rows", func(o outcome) { o.windows[first] = []figure{{1, 3}} }, false, false},
		{"window of nothing", func(o outcome) { o.windows[windowKey{"c", first.start}] = []figure{{1, 1}} }, false, false},
		{"group missing", func(o outcome) { delete(o.groups, "totals/a") }, false, true},
		{"group lagging", func(o outcome) { o.groups["totals/a"] = figure{1, 3} }, false, true},
		{"group ahead", func(o outcome) { o.groups["totals/a"] = figure{3, 11} }, false, false},
		{"row of a join missing", func(o outcome) { delete(o.joined, near) }, false, true},
		{"row of a join twice", func(o outcome) { o.joined[near]++ }, false, false},
		{"row of a join altered", func(o outcome) { delete(o.joined, near); o.joined[joinedRow{"near", "a", 4, 13}]++ }, false, false},
		{"group of nothing", func(o outcome) { o.groups["classes/6"] = figure{1, 6} }, false, false},
	} {
		actual := expect(rows, false)
		test.change(actual)
		for _, partial := range []bool{false, true} {
			wrong := expect(rows, false).compare(actual, partial)
			if right := map[bool]bool{false: test.complete, true: test.partial}[partial]; (len(wrong) == 0) != right {
				t.Errorf("%s, partial %t: found %v, expected right %t", test.name, partial, wrong, right)
			}
		}
	}
}
