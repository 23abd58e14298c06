package trace_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/source/fleet"
	"weir.example/weir/internal/trace"
	"weir.example/weir/internal/trace/tracetest"
)

const readingsTable = `CREATE TABLE readings (device_id STRING, sensor STRING, ` + "`value`" + ` DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = 'sensor_data_tx', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
`

// flows are the traced pipelines: stateless, with a repartition topic, with a GROUP BY, and with
// all kinds of windows.
var flows = []struct{ name, sql string }{
	{"passed", "CREATE TABLE passed (device_id STRING, `value` DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'passed', 'value.format' = 'json');" +
		"INSERT INTO passed SELECT device_id, `value` FROM readings WHERE `value` > -1e9;"},
	{"ranked", "CREATE TABLE ranked (sensor STRING, n BIGINT, device_id STRING, `value` DOUBLE, PRIMARY KEY (sensor, n) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'ranked', 'key.format' = 'json', 'value.format' = 'json');" +
		"INSERT INTO ranked SELECT sensor, n, device_id, `value` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY sensor ORDER BY ts) AS n FROM readings) WHERE n <= 200;"},
	{"counts", "CREATE TABLE counts (device_id STRING, n BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'json', 'value.format' = 'json');" +
		"INSERT INTO counts SELECT device_id, COUNT(*) FROM readings GROUP BY device_id;"},
	{"tumbled", windowed("tumbled", "TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND)", "device_id")},
	{"hopped", windowed("hopped", "HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' SECOND)", "sensor")},
	{"sessions", windowed("sessions", "SESSION(TABLE readings PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '1' SECOND)", "device_id")},
}

func windowed(name, window, key string) string {
	return fmt.Sprintf("CREATE TABLE %[1]s (%[3]s STRING, since TIMESTAMP(3), till TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = '%[1]s', 'value.format' = 'json');"+
		"INSERT INTO %[1]s SELECT %[3]s, window_start, window_end, COUNT(*) FROM TABLE(%[2]s) GROUP BY %[3]s, window_start, window_end;", name, window, key)
}

// start opens a broker with readings of seven devices over a few seconds.
func start(t *testing.T, tracer *trace.Tracer) broker.Config {
	t.Helper()
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	at := broker.Config{Brokers: []string{b.Addr()}}
	if err := node.ApplyDefaultTopics(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	admin := node.NewAdmin()
	t.Cleanup(admin.Close)
	admin.Tracer = tracer
	at = admin.Broker(at)
	simulated, err := fleet.New(fleet.Config{Devices: 7, Count: 2100, Seed: 1, Rate: 700, Start: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	send := produce.Config{Broker: at, Topic: node.SensorData, DLQ: node.DeadLetters, Progress: node.Progress, MarkTransactions: true}
	if _, err := produce.Run(t.Context(), send, simulated); err != nil {
		t.Fatal(err)
	}
	return at
}

// run runs a pipeline until it has processed all readings.
func run(t *testing.T, at broker.Config, name, sql string) {
	t.Helper()
	program, err := plan.Compile(readingsTable+sql, name)
	if err != nil {
		t.Fatal(err)
	}
	config := engine.Config{Broker: at, Program: program, Instances: []string{"one"}, CommitInterval: 20 * time.Millisecond, MaxRecords: 500}
	if _, err := engine.Run(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

// contents returns the records of a topic.
func contents(t *testing.T, at broker.Config, topic string) (all []*kgo.Record) {
	t.Helper()
	if err := broker.ReadAll(t.Context(), at, topic, nil, func(r *kgo.Record) error {
		all = append(all, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// parent returns the trace and span ids of a record's traceparent header, "" if it has none.
func parent(r *kgo.Record) (traceID, spanID string) {
	for _, h := range r.Headers {
		if parts := strings.Split(string(h.Value), "-"); h.Key == "traceparent" && len(parts) == 4 {
			return parts[1], parts[2]
		}
	}
	return "", ""
}

// A reading and the row derived from it form one trace. A row derived from several readings links
// to these and to no others.
func TestFlow(t *testing.T) {
	t.Parallel()
	receiver := tracetest.NewReceiver(t)
	tracer, err := trace.Open(t.Context(), trace.Config{Endpoint: receiver.URL, Sample: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	at := start(t, tracer)
	for _, f := range flows {
		run(t, at, f.name, f.sql)
	}
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
	seen := newSpans(receiver.Spans())

	readings := make(map[string]map[string]any) // by trace
	for _, r := range contents(t, at, node.SensorData) {
		id, span := parent(r)
		if id == "" {
			continue
		}
		var value map[string]any
		if err := json.Unmarshal(r.Value, &value); err != nil {
			t.Fatal(err)
		}
		readings[id] = value
		if path := seen.path(span); !slices.Equal(path, []string{"ingest", "sensor_data_tx publish"}) {
			t.Errorf("spans of a reading: %q", path)
		}
	}
	if len(readings) < 50 || len(readings) > 170 {
		t.Fatalf("%d of 2100 readings are followed with a share of 0.05", len(readings))
	}
	through := []string{"ingest", "sensor_data_tx publish", "sensor_data_tx receive", "sensor_data_tx process"}
	paths := map[string][]string{
		"passed":   append(slices.Clip(through), "passed publish"),
		"counts":   append(slices.Clip(through), "counts publish"),
		"ranked":   append(slices.Clip(through), "ranked.repartition1 publish", "ranked.repartition1 receive", "ranked.repartition1 process", "ranked publish"),
		"tumbled":  {"tumbled transaction", "tumbled publish"},
		"hopped":   {"hopped transaction", "hopped publish"},
		"sessions": {"sessions transaction", "sessions publish"},
	}
	for topic, want := range paths {
		followed := 0
		for _, r := range contents(t, at, topic) {
			id, span := parent(r)
			if id == "" {
				continue
			}
			followed++
			if path := seen.path(span); !slices.Equal(path, want) {
				t.Errorf("spans of a record of %s: %q", topic, path)
			}
			var row map[string]any
			if err := json.Unmarshal(r.Value, &row); err != nil {
				t.Fatal(err)
			}
			if want[0] == through[0] && !sameReading(row, readings[id]) {
				t.Errorf("record of %s: %s has the trace of %v", topic, r.Value, readings[id])
			}
			if want[0] != through[0] {
				checkLinks(t, seen, span, row, readings)
			}
		}
		if followed == 0 || topic == "passed" && followed != len(readings) {
			t.Errorf("%d records of %s are followed", followed, topic)
		}
	}
	for _, s := range receiver.Spans() {
		if s.Error != "" {
			t.Errorf("span %s: %s", s.Name, s.Error)
		}
	}
}

// checkLinks checks that the result of a window links to readings of its window and key, and its
// transaction to readings.
func checkLinks(t *testing.T, seen spans, span string, row map[string]any, readings map[string]map[string]any) {
	t.Helper()
	result := seen[span]
	if n := len(result.Links); n == 0 || n > trace.MaxLinks {
		t.Errorf("%v has %d links", row, n)
	}
	for _, l := range result.Links {
		r := readings[l.Trace]
		if r == nil {
			t.Errorf("%v links to a trace that is not a reading's", row)
			continue
		}
		at := strings.TrimSuffix(strings.Replace(r["ts"].(string), "T", " ", 1), "Z")
		if !sameReading(row, r) || at < row["since"].(string) || at >= row["till"].(string) {
			t.Errorf("%v links to the reading %v", row, r)
		}
	}
	if n := len(seen[result.Parent].Links); n == 0 || n > trace.MaxLinks {
		t.Errorf("the transaction of %v has %d links", row, n)
	}
}

// sameReading reports whether a row's fields equal those of a reading.
func sameReading(row, reading map[string]any) bool {
	for _, field := range []string{"device_id", "sensor", "value"} {
		if v, ok := row[field]; ok && v != reading[field] {
			return false
		}
	}
	return reading != nil
}

// spans are the received spans by id.
type spans map[string]tracetest.Span

func newSpans(all []tracetest.Span) spans {
	byID := make(spans)
	for _, s := range all {
		byID[s.ID] = s
	}
	return byID
}

// path returns the names of the spans from the root to the given one, which must be in one trace.
func (s spans) path(id string) (names []string) {
	for at, ok := s[id]; ok; {
		names = append(names, at.Name)
		next, found := s[at.Parent]
		if found && next.Trace != at.Trace {
			names = append(names, "another trace")
		}
		at, ok = next, found
	}
	slices.Reverse(names)
	return names
}

// The spans of an aborted transaction have the reason of the abort, and records that are read again
// get new spans in the same trace.
func TestFlowAborted(t *testing.T) {
	t.Parallel()
	receiver := tracetest.NewReceiver(t)
	tracer, err := trace.Open(t.Context(), trace.Config{Endpoint: receiver.URL, Sample: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	at := start(t, tracer)
	program, err := plan.Compile(strings.Replace(readingsTable, ", 'scan.bounded.mode' = 'latest-offset'", "", 1)+flows[0].sql, flows[0].name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var workers errgroup.Group
	work := func(instance string) {
		workers.Go(func() error {
			_, err := engine.Run(ctx, engine.Config{Broker: at, Program: program, Instances: []string{instance}, CommitInterval: 5 * time.Second})
			return err
		})
	}
	await := func(what string, seen func(tracetest.Span) bool) {
		t.Helper()
		if !receiver.Await(ctx, seen) {
			t.Fatalf("no span of %s", what)
		}
	}
	work("one")
	await("a consumed reading", func(s tracetest.Span) bool { return s.Name == "sensor_data_tx receive" })
	work("two")                      // the first worker can no longer commit its open transaction
	aborted := make(map[string]bool) // traces
	await("an aborted transaction", func(s tracetest.Span) bool {
		if s.Name == "sensor_data_tx process" && s.Error == "the transaction was aborted: rebalance" {
			aborted[s.Trace] = true
		}
		return aborted[s.Trace]
	})
	await("a reading that is read again", func(s tracetest.Span) bool {
		return s.Name == "sensor_data_tx process" && s.Error == "" && aborted[s.Trace]
	})
	stop()
	if err := errors.Join(workers.Wait(), tracer.Close()); err != nil {
		t.Error(err)
	}
}

// Without a tracer no record gets a traceparent header.
func TestFlowOff(t *testing.T) {
	t.Parallel()
	at := start(t, nil)
	run(t, at, flows[0].name, flows[0].sql)
	for _, topic := range []string{node.SensorData, "passed"} {
		for _, r := range contents(t, at, topic) {
			if id, _ := parent(r); id != "" {
				t.Fatalf("a record of %s has the trace %s", topic, id)
			}
		}
	}
}

// A reading that already has a sampled trace is followed even if no others are. One whose trace is
// not sampled is not followed.
func TestForeignTrace(t *testing.T) {
	t.Parallel()
	receiver := tracetest.NewReceiver(t)
	tracer, err := trace.Open(t.Context(), trace.Config{Endpoint: receiver.URL})
	if err != nil {
		t.Fatal(err)
	}
	at := start(t, tracer)
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const foreign = "0af7651916cd43dd8448eb211c80319c"
	for _, header := range []string{"00-" + foreign + "-b7ad6b7169203331-01", "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "00-zz-01", ""} {
		r := &kgo.Record{
			Topic: node.SensorData, Key: []byte("gateway"), Value: []byte(`{"device_id":"gateway","sensor":"t","value":1,"ts":"2026-01-31T12:00:00.000Z"}`),
			Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte(header)}},
		}
		if err := client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	run(t, at, flows[0].name, flows[0].sql)
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range receiver.Spans() {
		names = append(names, s.Name)
		if s.Trace != foreign {
			t.Errorf("span %s belongs to trace %s", s.Name, s.Trace)
		}
	}
	slices.Sort(names)
	if want := []string{"passed publish", "sensor_data_tx process", "sensor_data_tx receive"}; !slices.Equal(names, want) {
		t.Errorf("spans %q, want %q", names, want)
	}
}
