package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// matching is a pipeline over the topics of a pattern, with what was sent to them.
type matching struct {
	*testing.T
	at     broker.Config
	client *kgo.Client
	sent   map[string]int // rows expected in the topic of copies
	perKey map[string]int // rows sent, by device
	late   int            // minus the rows in windows
}

func newMatching(t *testing.T, partitions int32, topics ...string) *matching {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	m := &matching{T: t, at: broker.Config{Brokers: c.ListenAddrs()}, sent: make(map[string]int), perKey: make(map[string]int)}
	if m.client, err = broker.Connect(t.Context(), m.at, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.client.Close)
	return m
}

func (m *matching) create(topic string, partitions int32) {
	m.Helper()
	if _, err := kadm.NewClient(m.client).CreateTopic(m.Context(), partitions, 1, nil, topic); err != nil {
		m.Fatal(err)
	}
}

// send sends a row of each of ten devices, in the given minute.
func (m *matching) send(topic string, minute int) {
	m.Helper()
	for i := range 10 {
		device := fmt.Sprintf("d%d", i)
		n := len(m.sent)
		value := fmt.Sprintf(`{"device":%q,"n":%d,"ts":"2026-01-01 00:%02d:%02d"}`, device, n, minute, i)
		if err := m.client.ProduceSync(m.Context(), &kgo.Record{Topic: topic, Key: []byte(device), Value: []byte(value)}).FirstErr(); err != nil {
			m.Fatal(err)
		}
		m.sent[fmt.Sprintf(`{"source":%q,"n":%d}`, topic, n)]++
		m.perKey[device]++
	}
}

func (m *matching) program(name, options string) *plan.Program {
	m.Helper()
	p, err := plan.Compile(fmt.Sprintf(`
		CREATE TABLE readings (device STRING, n BIGINT, ts TIMESTAMP(3), source STRING METADATA FROM 'topic' VIRTUAL, WATERMARK FOR ts AS ts)
		WITH ('connector' = 'kafka', 'topic-pattern' = 'site-[a-z]', 'value.format' = 'json', 'scan.topic-partition-discovery.interval' = '50 ms' %s);
		CREATE TABLE copies WITH ('connector' = 'kafka', 'topic' = 'copies', 'value.format' = 'json') AS SELECT source, n FROM readings;
		CREATE TABLE minutes (device STRING, began TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'minutes', 'value.format' = 'json');
		INSERT INTO minutes SELECT device, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device, window_start, window_end;
		CREATE TABLE totals (device STRING, n BIGINT, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'totals', 'key.format' = 'raw', 'value.format' = 'json');
		INSERT INTO totals SELECT device, COUNT(*) FROM readings GROUP BY device;`, options), name)
	if err != nil {
		m.Fatal(err)
	}
	return p
}

func (m *matching) config(p *plan.Program) Config {
	return Config{Broker: m.at, Program: p, Instances: []string{"a", "b"}, UntilEnd: true, CommitInterval: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func (m *matching) run(p *plan.Program) {
	m.Helper()
	if _, err := Run(m.Context(), m.config(p)); err != nil {
		m.Fatal(err)
	}
}

func (m *matching) rows(topic string) map[string]int {
	m.Helper()
	got := make(map[string]int)
	if err := broker.ReadAll(m.Context(), m.at, topic, nil, func(r *kgo.Record) error { got[string(r.Value)]++; return nil }); err != nil {
		m.Fatal(err)
	}
	return got
}

// check compares the copies and the totals with what was sent, and each row with a window or a late
// letter.
func (m *matching) check(p *plan.Program, windows map[string]int, late int) {
	m.Helper()
	if got := m.rows("copies"); !maps.Equal(got, m.sent) {
		m.Errorf("copies has %v, expected %v", got, m.sent)
	}
	last := make(map[string]string)
	if err := broker.ReadAll(m.Context(), m.at, "totals", nil, func(r *kgo.Record) error { last[string(r.Key)] = string(r.Value); return nil }); err != nil {
		m.Fatal(err)
	}
	for device, n := range m.perKey {
		if want := fmt.Sprintf(`{"device":%q,"n":%d}`, device, n); last[device] != want {
			m.Errorf("totals has %s, expected %s", last[device], want)
		}
	}
	want := make(map[string]int)
	for began, n := range windows {
		for device := range m.perKey {
			want[fmt.Sprintf(`{"device":%q,"began":%q,"n":%d}`, device, began, n)]++
		}
	}
	if got := m.rows("minutes"); windows != nil && !maps.Equal(got, want) {
		m.Errorf("minutes has %v, expected %v", got, want)
	}
	letters := 0
	for _, n := range m.rows(p.Settings.LateTopic) {
		letters += n
	}
	if letters != late {
		m.Errorf("%d late rows, expected %d", letters, late)
	}
}

func minuteOf(n int) string { return fmt.Sprintf("2026-01-01 00:%02d:00", n) }

// Topics that match a pattern join a pipeline at its next start. Its state is kept, with an
// exchange and without, they are read from their beginning in every startup mode, and each of their
// rows is in a window or late.
func TestMatchingTopicsJoin(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]string{
		"exchanged": `, 'scan.startup.mode' = 'earliest-offset'`,
		"keyed":     `, 'scan.startup.mode' = 'earliest-offset', 'key.format' = 'raw', 'key.fields' = 'device'`,
		"latest":    `, 'scan.startup.mode' = 'latest-offset', 'key.format' = 'raw', 'key.fields' = 'device'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMatching(t, 2, "site-b", "elsewhere", "site-B2", "xsite-a")
			p := m.program("matching", options)
			m.run(p) // decides where the topics begin
			m.send("site-b", 0)
			m.send("site-b", 3)
			m.run(p)
			m.check(p, map[string]int{minuteOf(0): 1}, 0)

			m.create("site-a", 2) // before the other one in the alphabet
			m.send("site-a", 0)   // its window is over
			m.send("site-a", 3)
			m.run(p)
			m.check(p, map[string]int{minuteOf(0): 1}, 10)
			m.send("site-a", 5)
			m.send("site-b", 5)
			m.run(p)
			m.check(p, map[string]int{minuteOf(0): 1, minuteOf(3): 2}, 10)
		})
	}
}

// A topic of a pattern whose rows are part of the state must not disappear unnoticed, and without
// any topic the pipeline does not start.
func TestMatchedTopicsStay(t *testing.T) {
	t.Parallel()
	m := newMatching(t, 1, "other")
	p := m.program("matching", "")
	refused := func(topic string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var missing *NoTopicError
		if _, err := Run(ctx, m.config(p)); !errors.As(err, &missing) || missing.Topic != topic || !strings.Contains(err.Error(), "site-[a-z]") {
			t.Errorf("got error %v, expected one that names topic %q", err, topic)
		}
	}
	refused("")
	m.create("site-a", 1)
	m.create("site-b", 1)
	m.send("site-a", 0)
	m.run(p)
	if _, err := kadm.NewClient(m.client).DeleteTopic(t.Context(), "site-b"); err != nil {
		t.Fatal(err)
	}
	refused("site-b")
}

// A topic that begins to match joins all running processes of the pipeline.
func TestMatchingTopicsAreDiscovered(t *testing.T) {
	t.Parallel()
	m := newMatching(t, 2, "site-b")
	p := m.program("matching", `, 'scan.startup.mode' = 'earliest-offset'`)
	m.send("site-b", 0)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, instance := range []string{"a", "b"} {
		c := m.config(p)
		c.Instances, c.UntilEnd = []string{instance}, false
		go func() {
			_, err := Run(ctx, c)
			ended <- err
		}()
	}
	m.create("copies", 2)
	await := func() {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			if len(m.rows("copies")) >= len(m.sent) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("copies has %d rows, expected %d", len(m.rows("copies")), len(m.sent))
			}
		}
	}
	await()
	m.create("site-c", 2)
	m.send("site-c", 0)
	m.send("site-b", 1)
	await()
	m.create("site-a", 1)
	m.send("site-a", 2)
	m.send("site-b", 2)
	m.send("site-c", 2)
	await()
	stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	m.run(p)
	closed := make(map[string]bool) // windows that are over have all of their rows, or letters
	for row, n := range m.rows("minutes") {
		var w struct {
			Device, Began string
			N             int
		}
		if err := json.Unmarshal([]byte(row), &w); err != nil || n != 1 || closed[w.Device+w.Began] || w.Began > minuteOf(1) {
			t.Errorf("minutes has %s %d times, or in several windows: %v", row, n, err)
		}
		closed[w.Device+w.Began] = true
		m.late -= w.N
	}
	m.check(p, nil, 30+m.late)
}
