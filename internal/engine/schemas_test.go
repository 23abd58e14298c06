package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/retry"
)

const hotQuery = `
SET 'pipeline.name' = 'hot';
CREATE TABLE readings (device_id STRING NOT NULL, x DOUBLE NOT NULL)
WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'avro-confluent', 'value.avro-confluent.url' = '%[1]s', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE hot (device_id STRING NOT NULL, x DOUBLE NOT NULL)
WITH ('connector' = 'kafka', 'topic' = 'hot', 'value.format' = 'avro-confluent', 'value.avro-confluent.url' = '%[1]s');
INSERT INTO hot SELECT device_id, x FROM readings WHERE x > 10;
`

// pool is a pipeline over Avro with a registry that can be made to hang, and the pipeline's output.
type pool struct {
	*testing.T
	at      broker.Config
	client  *kgo.Client
	url     string // of the registry
	schemas *registry.Client
	down    atomic.Bool

	status *engine.Status
	stop   func()

	mu      sync.Mutex
	commits []engine.Commit
}

func newPool(t *testing.T) *pool {
	p := &pool{T: t}
	fake := srfake.New()
	t.Cleanup(fake.Close)
	p.at, p.client = serve(t)
	p.connect(fake.URL())
	fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {

		if p.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	return p
}

func (p *pool) connect(url string) {
	p.Helper()
	var err error
	if p.schemas, err = registry.NewClient(registry.Config{URLs: []string{url}}); err != nil {
		p.Fatal(err)
	}
	p.url = url
	p.Cleanup(p.schemas.Close)
}

func (p *pool) run(query string) {
	p.Helper()
	program, err := plan.Compile(fmt.Sprintf(query, p.url), "hot")
	if err != nil {
		p.Fatal(err)
	}
	p.status = engine.NewStatus(program)
	ctx, stop := context.WithCancel(p.Context())
	var running sync.WaitGroup
	running.Go(func() {
		_, err := engine.Run(ctx, engine.Config{Broker: p.at, Program: program, Instances: []string{"a"}, CommitInterval: 20 * time.Millisecond, Status: p.status, OnCommit: p.committed})
		if err != nil {
			p.Error(err)
		}
	})
	p.stop = func() {
		stop()
		running.Wait()
	}
	p.Cleanup(p.stop)
}

func (p *pool) committed(c engine.Commit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commits = append(p.commits, c)
}

func (p *pool) register(text string) int {
	p.Helper()
	id, err := p.schemas.Register(p.Context(), "readings-value", &registry.Schema{Type: registry.Avro, Text: text})
	if err != nil {
		p.Fatal(err)
	}
	return id
}

func (p *pool) send(partition int32, id int, schema string, device string, x any) {
	p.Helper()
	value, err := avro.MustParse(schema).AppendEncode(registry.AppendHeader(nil, id), map[string]any{"device_id": device, "x": x, "unit": "Cel"})
	if err != nil {
		p.Fatal(err)
	}
	p.sendRaw(partition, value)
}

func (p *pool) sendRaw(partition int32, value []byte) {
	p.Helper()
	if err := p.client.ProduceSync(p.Context(), &kgo.Record{Topic: "readings", Partition: partition, Value: value}).FirstErr(); err != nil {
		p.Fatal(err)
	}
}

// rows waits until a topic has n committed records, and returns them, sorted.
func (p *pool) rows(topic string, n int, show func(*kgo.Record) string) []string {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 20*time.Second)
	defer cancel()
	opts, err := p.at.Options()
	if err != nil {
		p.Fatal(err)
	}
	reader, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		p.Fatal(err)
	}
	defer reader.Close()
	var all []string
	for len(all) < n {
		f := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			p.Fatalf("%s has %v, want %d", topic, all, n)
		}
		f.EachRecord(func(r *kgo.Record) { all = append(all, show(r)) })
	}
	slices.Sort(all)
	return all
}

func hotRow(r *kgo.Record) string {
	var v struct {
		Device string  `avro:"device_id"`
		X      float64 `avro:"x"`
	}
	schema := avro.MustParse(`{"type":"record","name":"r","fields":[{"name":"device_id","type":"string"},{"name":"x","type":"double"}]}`)
	if _, err := schema.Decode(r.Value[registry.HeaderSize:], &v); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s=%v", v.Device, v.X)
}

func deadLetter(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == "weir-dlq-reason" {
			return string(h.Value)
		}
	}
	return "no reason"
}

func (p *pool) phase(want engine.Phase, reason string) {
	p.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		now := p.status.Snapshot()
		if len(now.Workers) == 1 && now.Workers[0].Phase == want && strings.Contains(now.Workers[0].Reason, reason) {
			return
		}
		if time.Now().After(deadline) {
			p.Fatalf("phase %q for %q did not come: %+v", want, reason, now.Workers)
		}
		_ = retry.Sleep(p.Context(), 2*time.Millisecond)
	}
}

const (
	avroV1 = `{"type":"record","name":"Reading","fields":[{"name":"device_id","type":"string"},{"name":"x","type":"double"}]}`
	avroV2 = `{"type":"record","name":"Reading","fields":[{"name":"device_id","type":"string"},{"name":"x","type":"float"},{"name":"unit","type":"string","default":""}]}`
	avroV3 = `{"type":"record","name":"Reading","fields":[{"name":"device_id","type":"string"},{"name":"x","type":"string"}]}`
)

// While the registry is down, records with known schemas are processed on all other partitions. A
// record with an unknown schema holds its partition, which the status shows, and when the registry
// is back nothing is lost or duplicated.
func TestRegistryDown(t *testing.T) {
	p := newPool(t)
	v1, v2 := p.register(avroV1), p.register(avroV2)
	p.run(hotQuery)
	p.send(0, v1, avroV1, "a", 20.0)
	p.send(1, v1, avroV1, "b", 20.0)
	p.rows("hot", 2, hotRow)
	p.phase(engine.Running, "")

	p.down.Store(true)
	p.send(0, v1, avroV1, "a", 21.0)
	p.send(0, v2, avroV2, "a", float32(22))
	p.send(0, v1, avroV1, "a", 23.0)
	p.phase(engine.Waiting, fmt.Sprintf("readings-0: schema %d of %s", v2, p.url))
	for i := range 50 {
		p.send(1, v1, avroV1, "b", 100.0+float64(i))
	}
	rows := p.rows("hot", 52, hotRow)
	if slices.ContainsFunc(rows, func(s string) bool { return s == "a=22" || s == "a=23" }) {
		t.Errorf("rows of an unknown schema, or after them: %v", rows)
	}
	p.down.Store(false)
	rows = p.rows("hot", 55, hotRow)
	for _, want := range []string{"a=20", "a=21", "a=22", "a=23"} {
		if !slices.Contains(rows, want) {
			t.Errorf("%s is missing in %v", want, rows)
		}
	}
	p.phase(engine.Running, "")
	p.stop()
	again := p.rows("hot", 55, hotRow)
	if len(again) != 55 || len(slices.Compact(again)) != 55 {
		t.Errorf("%d rows, %d different", len(again), len(slices.Compact(again)))
	}
	if n := p.status.Snapshot().Workers[0].Aborted[engine.AbortSchema]; n != 1 {
		t.Errorf("%d transactions aborted for the schema, want 1", n)
	}
}

// Records that can't be decoded become dead letters with the reason: an unknown id, an incompatible
// schema (with both ids), a truncated value, or a value without a schema id. All others are
// processed.
func TestUndecodable(t *testing.T) {
	p := newPool(t)
	v1 := p.register(avroV1)
	v3 := p.register(avroV3)
	p.run(hotQuery)
	p.send(0, v1, avroV1, "a", 20.0)
	p.send(0, v3, avroV3, "a", "21")
	p.send(0, 999, avroV1, "a", 22.0)
	p.sendRaw(0, registry.AppendHeader(nil, v1))
	p.sendRaw(0, []byte(`{"device_id":"a"}`))
	p.send(0, v1, avroV1, "a", 23.0)
	if rows := p.rows("hot", 2, hotRow); !slices.Equal(rows, []string{"a=20", "a=23"}) {
		t.Errorf("rows: %v", rows)
	}
	letters := p.rows("hot.dlq", 4, deadLetter)
	wants := []string{
		"40403",
		fmt.Sprintf("schema %d (of the writer) can't be read as schema %d (of the reader, readings-value): field x: found string, expected DOUBLE", v3, v1),
		"the record ends in the middle of a value",
		"the magic byte",
	}
	for _, want := range wants {
		if !slices.ContainsFunc(letters, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("no dead letter with %q: %s", want, strings.Join(letters, "\n"))
		}
	}
}

// A pipeline whose schema can't be registered because the registry is down waits before its first
// row, and its status shows that.
func TestRegistryDownAtStart(t *testing.T) {
	p := newPool(t)
	v1 := p.register(avroV1)
	p.down.Store(true)
	p.send(0, v1, avroV1, "a", 20.0)
	p.run(hotQuery)
	p.phase(engine.Waiting, "the schema registry")
	p.down.Store(false)
	p.rows("hot", 1, hotRow)
	v, err := p.schemas.Latest(t.Context(), "hot-value")
	if err != nil || !strings.Contains(v.Schema.Text, "org.apache.flink.avro.generated") {
		t.Errorf("the schema of what is written: %+v, %v", v, err)
	}
	topics, err := kadm.NewClient(p.client).ListTopics(t.Context(), "hot")
	if err != nil || topics["hot"].Err != nil {
		t.Errorf("topic hot: %v %v", err, topics["hot"].Err)
	}
}
