package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/plan"
)

const accidentSource = `
SET 'pipeline.name' = 'p';
CREATE TABLE readings (sensor STRING NOT NULL, n BIGINT NOT NULL) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json',
  'key.format' = 'raw', 'key.fields' = 'sensor', 'value.fields-include' = 'EXCEPT_KEY', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE plain (parity BIGINT NOT NULL, n BIGINT NOT NULL) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE sums (sensor STRING NOT NULL, c BIGINT NOT NULL, PRIMARY KEY (sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sums',
  'key.format' = 'raw', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE parities (parity BIGINT NOT NULL, c BIGINT NOT NULL, PRIMARY KEY (parity) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'parities',
  'key.format' = 'json', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE copies (n BIGINT NOT NULL) WITH ('connector' = 'kafka', 'topic' = 'copies', 'value.format' = 'json');
`

// Kinds of pipelines: with state in the task that reads the source, with state after an exchange,
// stateless, and one that combines the first two.
var accidentPipelines = map[string]string{
	"keyed":     `INSERT INTO sums SELECT sensor, COUNT(*) FROM readings GROUP BY sensor;`,
	"exchanged": `INSERT INTO parities SELECT parity, COUNT(*) FROM plain GROUP BY parity;`,
	"stateless": `INSERT INTO copies SELECT n FROM plain;`,
	"mixed":     `EXECUTE STATEMENT SET BEGIN INSERT INTO sums SELECT sensor, COUNT(*) FROM readings GROUP BY sensor; INSERT INTO copies SELECT n FROM readings; END;`,
}

// site is a broker with a topic of readings, and a pipeline that a test runs several times.
type site struct {
	*testing.T
	broker     *embedded.Broker
	at         broker.Config
	admin      *kadm.Client
	client     *kgo.Client
	partitions int32
	kind       string
	insert     string // replaces the INSERT of the kind
	sent       int
	cfg        Config // additions to run's configuration
	stateDir   string
	mode       string // options of the tables, instead of 'scan.startup.mode' = 'earliest-offset'
	log        strings.Builder
}

func newSite(t *testing.T, kind string, partitions int32) *site {
	t.Helper()
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	s := &site{T: t, broker: b, at: broker.Config{Brokers: []string{b.Addr()}}, partitions: partitions, kind: kind}
	s.connect()
	s.createTopic("readings")
	return s
}

// connect creates a client without metadata of deleted topics.
func (s *site) connect() {
	s.Helper()
	client, err := broker.Connect(s.Context(), s.at, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(client.Close)
	s.client, s.admin = client, kadm.NewClient(client)
}

func (s *site) createTopic(name string) {
	s.Helper()
	if _, err := s.admin.CreateTopic(s.Context(), s.partitions, 1, nil, name); err != nil {
		s.Fatal(err)
	}
}

// send writes the next n readings, keyed as Java's producer does.
func (s *site) send(n int) {
	s.Helper()
	hash := kgo.StickyKeyPartitioner(nil).ForTopic("readings")
	for range n {
		r := &kgo.Record{Topic: "readings", Key: fmt.Appendf(nil, "s%d", s.sent%7), Value: fmt.Appendf(nil, `{"n":%d,"parity":%d}`, s.sent, s.sent%2)}
		r.Partition = int32(hash.Partition(r, int(s.partitions)))
		s.client.Produce(s.Context(), r, func(_ *kgo.Record, err error) {
			if err != nil {
				s.Error(err)
			}
		})
		s.sent++
	}
	if err := s.client.Flush(s.Context()); err != nil {
		s.Fatal(err)
	}
}

// query returns the INSERTs of the pipeline.
func (s *site) query() string { return cmp.Or(s.insert, accidentPipelines[s.kind]) }

func (s *site) program(insert string) *plan.Program {
	s.Helper()
	source := accidentSource
	if s.mode != "" {
		source = strings.ReplaceAll(source, "'scan.startup.mode' = 'earliest-offset'", s.mode)
	}
	p, err := plan.Compile(source+insert, "p")
	if err != nil {
		s.Fatal(err)
	}
	return p
}

// try runs the pipeline until it has processed all readings.
func (s *site) try() error {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	cfg := s.cfg
	cfg.Broker, cfg.UntilEnd, cfg.CommitInterval, cfg.StateDir = s.at, true, 20*time.Millisecond, s.stateDir
	cfg.Program = s.program(s.query())
	cfg.Instances = []string{"a", "b"}
	s.log.Reset()
	cfg.Logger = slog.New(slog.NewTextHandler(&s.log, nil))
	_, err := Run(ctx, cfg)
	if err == nil && ctx.Err() != nil {
		err = errors.New("it did not come to the end")
	}
	return err
}

func (s *site) run() {
	s.Helper()
	if err := s.try(); err != nil {
		s.Fatalf("%v\n%s", err, s.log.String())
	}
}

// refused runs the pipeline, which must refuse to start, and checks its error.
func (s *site) refused(want ...string) {
	s.Helper()
	err := s.try()
	if err == nil {
		s.Fatalf("it ran, and was to be refused with %q; results: %s", want, s.results())
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			s.Errorf("error %q does not have %q", err, w)
		}
	}
}

// results returns the rows written by the pipeline, in a canonical form.
func (s *site) results() string {
	s.Helper()
	topics := map[string][]string{"keyed": {"sums"}, "exchanged": {"parities"}, "stateless": {"copies"}, "mixed": {"sums", "copies"}}[s.kind]
	var b strings.Builder
	for _, topic := range topics {
		if topic == "copies" {
			seen := make(map[string]int)
			rows := 0
			s.read(topic, func(r *kgo.Record) { seen[string(r.Value)]++; rows++ })
			fmt.Fprintf(&b, "copies: %d rows, %d different\n", rows, len(seen))
			continue
		}
		last := make(map[string]string)
		s.read(topic, func(r *kgo.Record) { last[string(r.Key)] = string(r.Value) })
		total := 0
		for _, v := range last {
			var c int
			_, _ = fmt.Sscanf(v, `{"c":%d}`, &c)
			total += c
		}
		fmt.Fprintf(&b, "%s: %d keys, total %d\n", topic, len(last), total)
	}
	return b.String()
}

func (s *site) read(topic string, fn func(*kgo.Record)) {
	s.Helper()
	if err := broker.ReadAll(s.Context(), s.at, topic, nil, func(r *kgo.Record) error { fn(r); return nil }); err != nil {
		s.Fatal(err)
	}
}

// want compares the results with those of counting each reading exactly once.
func (s *site) want() {
	s.Helper()
	want := map[string]string{
		"keyed":     fmt.Sprintf("sums: 7 keys, total %d\n", s.sent),
		"exchanged": fmt.Sprintf("parities: 2 keys, total %d\n", s.sent),
		"stateless": fmt.Sprintf("copies: %[1]d rows, %[1]d different\n", s.sent),
		"mixed":     fmt.Sprintf("sums: 7 keys, total %[1]d\ncopies: %[1]d rows, %[1]d different\n", s.sent),
	}[s.kind]
	if got := s.results(); got != want {
		s.Errorf("got\n%swant\n%s%s", got, want, s.log.String())
	}
}

// everywhere runs a test for each kind of pipeline, with 2 and 4 partitions, and with and without
// local copies of the state.
func everywhere(t *testing.T, test func(*site)) {
	t.Helper()
	for kind := range accidentPipelines {
		for _, partitions := range []int32{2, 4} {
			t.Run(fmt.Sprintf("%s/%d", kind, partitions), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, kind, partitions)
				if partitions == 2 {
					s.stateDir = t.TempDir()
				}
				s.send(200)
				s.run()
				s.want()
				test(s)
			})
		}
	}
}

func (s *site) deleteGroup() {
	s.Helper()
	if _, err := s.admin.DeleteGroup(s.Context(), "weir-p"); err != nil {
		s.Fatal(err)
	}
}

// resetGroup commits an offset for each partition of the readings.
func (s *site) resetGroup(at func(end int64) int64) {
	s.Helper()
	ends, err := s.admin.ListEndOffsets(s.Context(), "readings")
	if err != nil {
		s.Fatal(err)
	}
	var offsets kadm.Offsets
	ends.Each(func(o kadm.ListedOffset) { offsets.AddOffset(o.Topic, o.Partition, at(o.Offset), -1) })
	if err := s.admin.CommitAllOffsets(s.Context(), "weir-p", offsets); err != nil {
		s.Fatal(err)
	}
}

// The group's offsets expire, are deleted, or are set by hand: the position in the state decides,
// and the group's offset is corrected.
func TestGroupOffsets(t *testing.T) {
	accidents := map[string]func(*site){
		"deleted": (*site).deleteGroup,
		"deleted before more came": func(s *site) {
			s.send(100)
			s.deleteGroup()
		},
		"to the earliest": func(s *site) { s.resetGroup(func(int64) int64 { return 0 }) },
		"back":            func(s *site) { s.resetGroup(func(end int64) int64 { return end / 2 }) },
		"to the latest": func(s *site) {
			s.send(100)
			s.resetGroup(func(end int64) int64 { return end })
		},
	}
	for name, accident := range accidents {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(s *site) {
				accident(s)
				s.run()
				s.want()
				if !strings.Contains(s.log.String(), "using the position") {
					s.Errorf("nothing is logged:\n%s", s.log.String())
				}
				s.wantLag(0)
				s.send(50)
				s.run()
				s.want()
			})
		})
	}
}

// wantLag checks the lag of the group as other tools see it.
func (s *site) wantLag(want int64) {
	s.Helper()
	lag, err := s.admin.Lag(s.Context(), "weir-p")
	if err != nil {
		s.Fatal(err)
	}
	l := lag["weir-p"]
	for partition, m := range l.Lag["readings"] {
		if m.End.Offset > 0 && m.Commit.At < 0 || m.Lag != want {
			s.Errorf("the group is at %d in partition %d, %d behind, want %d", m.Commit.At, partition, m.Lag, want)
		}
	}
}
