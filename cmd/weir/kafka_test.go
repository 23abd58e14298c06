package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/stack"
)

// boundedRunsEnv sets the number of bounded runs.
const boundedRunsEnv = "WEIR_TEST_BOUNDED_RUNS"

// realBroker is a real broker shared by several tests, because it takes longer to start than most
// of them.
type realBroker struct {
	at     broker.Config
	flag   string // --brokers
	client *kgo.Client
	admin  *kadm.Client
}

// Behavior that only a real broker shows: it writes transaction markers partition by partition
// after it has responded, and deletes records on request and through retention.
func TestOnKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a JVM: make test runs it")
	}
	kafka := stack.New(t, 1, "log.retention.ms=-1", "log.retention.check.interval.ms=500", "log.initial.task.delay.ms=500")
	b := &realBroker{at: broker.Config{Brokers: kafka.Brokers()}, flag: "--brokers=" + strings.Join(kafka.Brokers(), ",")}
	b.connect(t)
	t.Cleanup(func() { b.client.Close() })
	must(t, "topics", "apply", b.flag)
	t.Run("bounded runs are visible immediately", b.testBoundedRuns)
	t.Run("produced readings are visible immediately", b.testProduced)
	t.Run("repartition", b.testRepartition)
	t.Run("hanging transactions", b.testHanging)
	t.Run("gaps", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"restart": b.testGapAtRestart, "first start": b.testGapBeforeFirstStart, "running": b.testGapWhileRunning, "retention": b.testGapByRetention, "none": b.testGapStops,
			"verify": b.testVerifyNamesGap,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
	t.Run("accidents", func(t *testing.T) { accidents(t, b.at, 8, 4) })
}

// connect connects the clients that tests write and administrate with.
func (b *realBroker) connect(t *testing.T) {
	t.Helper()
	client, err := broker.Connect(t.Context(), b.at, kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	b.client, b.admin = client, kadm.NewClient(client)
}

// rounds returns the number of bounded runs.
func rounds(t *testing.T) int {
	t.Helper()
	n := 12
	if text := os.Getenv(boundedRunsEnv); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func (b *realBroker) makeTopic(t *testing.T, name string, partitions int32) {
	t.Helper()
	if err := broker.EnsureTopics(t.Context(), b.admin, []broker.Topic{{Name: name, Partitions: partitions}}); err != nil {
		t.Fatal(err)
	}
}

func (b *realBroker) send(t *testing.T, records ...*kgo.Record) {
	t.Helper()
	if err := b.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// seen is what a read_committed reader sees at one moment: everything below the last stable
// offsets.
type seen struct {
	stable, high kadm.ListedOffsets
}

// listEnds lists the last stable offsets first, because more markers may arrive at any moment.
func (b *realBroker) listEnds(t *testing.T, topics ...string) seen {
	t.Helper()
	var s seen
	var err error
	if s.stable, err = b.admin.ListCommittedOffsets(t.Context(), topics...); err == nil {
		s.high, err = b.admin.ListEndOffsets(t.Context(), topics...)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.stable.Error() != nil || s.high.Error() != nil {
		t.Fatal(s.stable.Error(), s.high.Error())
	}
	return s
}

// hidden lists the partitions that readers don't see completely.
func (s seen) hidden() (all []string) {
	s.high.Each(func(o kadm.ListedOffset) {
		if at, _ := s.stable.Lookup(o.Topic, o.Partition); at.Offset < o.Offset {
			all = append(all, fmt.Sprintf("%s-%d up to %d of %d", o.Topic, o.Partition, at.Offset, o.Offset))
		}
	})
	slices.Sort(all)
	return all
}

// read calls fn for the records that were visible.
func (b *realBroker) read(t *testing.T, s seen, topic string, fn func(*kgo.Record)) {
	t.Helper()
	err := broker.ReadAll(t.Context(), b.at, topic, nil, func(r *kgo.Record) error {
		if at, _ := s.stable.Lookup(topic, r.Partition); r.Offset < at.Offset {
			fn(r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

const visibleSQL = `SET 'pipeline.name' = 'visible';
CREATE TABLE rows_in (n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'visible.in', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE copies (n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'visible.copies', 'value.format' = 'json');
CREATE TABLE classes (class INT, c BIGINT, total BIGINT, PRIMARY KEY (class) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'visible.classes', 'key.format' = 'json', 'value.format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO copies SELECT n FROM rows_in;
INSERT INTO classes SELECT class, COUNT(*), SUM(n) FROM (SELECT MOD(n, 37) AS class, n FROM rows_in) GROUP BY class;
END;
`

// Many short runs to the end of the input: a reader that starts the moment one exits sees all its
// rows, on all partitions and downstream of a repartition topic.
func (b *realBroker) testBoundedRuns(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for topic, partitions := range map[string]int32{"visible.in": 4, "visible.copies": 6, "visible.classes": 5} {
		b.makeTopic(t, topic, partitions)
	}
	file := filepath.Join(t.TempDir(), "visible.sql")
	if err := os.WriteFile(file, []byte(visibleSQL), 0o600); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for round := range rounds(t) {
		var records []*kgo.Record
		for range 50 + rng.IntN(400) {
			records = append(records, &kgo.Record{Topic: "visible.in", Partition: int32(rng.IntN(4)), Value: fmt.Appendf(nil, `{"n":%d}`, sent)})
			sent++
		}
		b.send(t, records...)
		must(t, "run", file, b.flag, "--until-end", "--instance=x", "--state-dir=none", fmt.Sprint("--parallelism=", 1+rng.IntN(3)),
			fmt.Sprintf("--commit-interval=%dms", 5+rng.IntN(100)))
		s := b.listEnds(t, "visible.copies", "visible.classes")
		if hidden := s.hidden(); len(hidden) > 0 {
			t.Errorf("round %d: readers see %v", round, hidden)
		}
		copies := make(map[string]int)
		b.read(t, s, "visible.copies", func(r *kgo.Record) { copies[string(r.Value)]++ })
		if len(copies) != sent || slices.Max(slices.Collect(maps.Values(copies))) != 1 {
			t.Errorf("round %d: readers see %d different copies, want %d, each once", round, len(copies), sent)
		}
		type class struct{ C, Total int }
		classes := make(map[string]class)
		b.read(t, s, "visible.classes", func(r *kgo.Record) {
			var c class
			if err := json.Unmarshal(r.Value, &c); err != nil {
				t.Error(err)
			}
			classes[string(r.Key)] = c
		})
		var all class
		for _, c := range classes {
			all.C, all.Total = all.C+c.C, all.Total+c.Total
		}
		if want := (class{sent, sent * (sent - 1) / 2}); all != want {
			t.Errorf("round %d: readers see classes of %v, want %v", round, all, want)
		}
		if t.Failed() {
			return
		}
	}
}

// Likewise for weir produce.
func (b *realBroker) testProduced(t *testing.T) {
	const each = 300
	before := 0
	b.read(t, b.listEnds(t, "sensor_data_tx"), "sensor_data_tx", func(*kgo.Record) { before++ })
	for round := range rounds(t) {
		must(t, "produce", b.flag, fmt.Sprint("--count=", each), fmt.Sprint("--name=visible-", round), fmt.Sprintf("--device-prefix=r%d-", round), "--devices=50", "--commit-interval=10ms")
		s := b.listEnds(t, "sensor_data_tx", "weir.progress")
		if hidden := s.hidden(); len(hidden) > 0 {
			t.Errorf("round %d: readers see %v", round, hidden)
		}
		n := 0
		b.read(t, s, "sensor_data_tx", func(*kgo.Record) { n++ })
		if want := before + (round+1)*each; n != want {
			t.Errorf("round %d: readers see %d readings, want %d", round, n, want)
		}
		if t.Failed() {
			return
		}
	}
}
