package node

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
)

const counting = `CREATE TABLE g (n INT, k INT, ts AS LOCALTIMESTAMP, WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'scan.parallelism' = '%d', 'rows-per-second' = '3000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '2000', 'fields.k.min' = '0', 'fields.k.max' = '3');
CREATE TABLE o (n INT) WITH ('connector' = 'kafka', 'topic' = 'o', 'format' = 'json');
CREATE TABLE w (n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'w', 'format' = 'json');
INSERT INTO o SELECT n FROM g;
INSERT INTO w SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE g, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, k;`

func generatedCluster(t *testing.T) broker.Config {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "100", "group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return broker.Config{Brokers: c.ListenAddrs()}
}

func values(t *testing.T, at broker.Config, topic string) (all []string) {
	t.Helper()
	if err := broker.ReadAll(t.Context(), at, topic, nil, func(r *kgo.Record) error { all = append(all, string(r.Value)); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// Generated rows are there once, however often the processes that generate and read them are
// stopped, and whichever of several generates. The pipeline ends with the last row, which closes
// its windows; another run adds nothing.
func TestGeneratedRows(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // test data
	for _, partitions := range []int{1, 3} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			at := generatedCluster(t)
			p, err := plan.Compile(fmt.Sprintf(counting, partitions), "p")
			if err != nil {
				t.Fatal(err)
			}
			run := func(ctx context.Context, instance string) error {
				_, err := RunPipeline(ctx, engine.Config{Broker: at, Program: p, Instances: []string{instance}, SessionTimeout: time.Second}, nil)
				return err
			}
			for range 3 { // two processes, one of which is stopped earlier
				var running sync.WaitGroup
				for _, instance := range []string{"a", "b"} {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(50+random.IntN(400))*time.Millisecond)
					running.Go(func() {
						defer cancel()
						if err := run(ctx, instance); err != nil && ctx.Err() == nil {
							t.Error(err)
						}
					})
				}
				running.Wait()
			}
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if err := run(ctx, "c"); err != nil {
					t.Fatal(err)
				}
				cancel()
			}
			rows := values(t, at, "o")
			slices.Sort(rows)
			if distinct := slices.Compact(slices.Clone(rows)); len(rows) != 2000 || len(distinct) != 2000 {
				t.Errorf("seed %d: %d rows, %d of them distinct, want the numbers from 1 to 2000 once", seed, len(rows), len(distinct))
			}
			total := 0
			for _, row := range values(t, at, "w") {
				n := 0
				if _, err := fmt.Sscanf(row, `{"n":%d}`, &n); err != nil {
					t.Fatal(err)
				}
				total += n
			}
			if total != 2000 {
				t.Errorf("seed %d: the windows have %d rows, want 2000", seed, total)
			}
		})
	}
}

// A generator that can't write stops its pipeline with the reason.
func TestGeneratorFails(t *testing.T) {
	at := generatedCluster(t)
	p, err := plan.Compile(fmt.Sprintf(counting, 1), "p")
	if err != nil {
		t.Fatal(err)
	}
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := RunPipeline(ctx, engine.Config{Broker: at, Program: p, Instances: []string{"a"}, UntilEnd: true}, nil); err != nil {
		t.Fatal(err)
	}
	bad := &kgo.Record{Topic: p.PositionTopic(p.Generated()[0]), Key: []byte("source/p.g.generated"), Value: []byte(`{"position":{"rows":-1},"readings":0}`)}
	if err := client.ProduceSync(ctx, bad).FirstErr(); err != nil {
		t.Fatal(err)
	}
	_, err = RunPipeline(ctx, engine.Config{Broker: at, Program: p, Instances: []string{"a"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "generate the rows of table g") {
		t.Errorf("got %v, want the error of the generator", err)
	}
}

// A pipeline from generated rows to the terminal needs no topic that exists.
func TestGeneratedAndPrinted(t *testing.T) {
	p, err := plan.Compile(`CREATE TABLE g (n INT) WITH ('connector' = 'datagen', 'number-of-rows' = '3', 'fields.n.kind' = 'sequence', 'fields.n.start' = '7', 'fields.n.end' = '100');
		CREATE TABLE o (n INT) WITH ('connector' = 'print'); INSERT INTO o SELECT n FROM g;`, "p")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if _, err := runPipeline(ctx, engine.Config{Broker: generatedCluster(t), Program: p, Instances: []string{"a"}}, SinkStatus(p), Outputs{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "+I[7]\n+I[8]\n+I[9]\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// Rows of VALUES are there once, however often the pipeline is stopped, beside a topic with more
// partitions; those without a match are kept. Other rows are another table.
func TestRowsOfValues(t *testing.T) {
	at := generatedCluster(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // test data
	var rows []string
	for i := range 500 {
		rows = append(rows, fmt.Sprintf("('d%d', %d)", i, i))
	}
	text := `CREATE TABLE r (d STRING, n INT) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
		CREATE TABLE o (d STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'o', 'format' = 'json');
		CREATE TABLE j (d STRING, n INT, v INT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'j', 'key.format' = 'json', 'value.format' = 'json');
		INSERT INTO o VALUES ` + strings.Join(rows, ", ") + `;
		INSERT INTO j SELECT v.d, r.n, v.v FROM (VALUES ` + strings.Join(rows[:20], ", ") + `) AS v (d, v) LEFT JOIN r ON r.d = v.d;`
	p, err := plan.Compile(text, "p")
	if err != nil {
		t.Fatal(err)
	}
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := broker.EnsureTopics(t.Context(), kadm.NewClient(client), []broker.Topic{{Name: "r", Partitions: 3}}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "r", Partition: int32(i % 3), Value: fmt.Appendf(nil, `{"d":"d%d","n":%d}`, i, 100+i)}).FirstErr(); err != nil { //nolint:gosec // small
			t.Fatal(err)
		}
	}
	run := func(ctx context.Context, p *plan.Program) error {
		_, err := RunPipeline(ctx, engine.Config{Broker: at, Program: p, Instances: []string{"a", "b"}, SessionTimeout: time.Second}, nil)
		return err
	}
	for range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(50+random.IntN(300))*time.Millisecond)
		if err := run(ctx, p); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 2 {
		if err := run(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	got := values(t, at, "o")
	slices.Sort(got)
	if distinct := slices.Compact(slices.Clone(got)); len(got) != 500 || len(distinct) != 500 {
		t.Errorf("seed %d: %d rows, %d of them distinct, want 500", seed, len(got), len(distinct))
	}
	last := make(map[string]string)
	if err := broker.ReadAll(ctx, at, "j", nil, func(r *kgo.Record) error { last[string(r.Key)] = string(r.Value); return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		n := "null"
		if i < 10 {
			n = fmt.Sprint(100 + i)
		}
		if want := fmt.Sprintf(`{"d":"d%d","n":%s,"v":%d}`, i, n, i); last[fmt.Sprintf(`{"d":"d%d"}`, i)] != want {
			t.Errorf("seed %d: got %s, want %s", seed, last[fmt.Sprintf(`{"d":"d%d"}`, i)], want)
		}
	}
	other, err := plan.Compile(strings.Replace(text, "INSERT INTO o VALUES "+strings.Join(rows, ", "), "INSERT INTO o VALUES ('new', 1)", 1), "p")
	if err != nil {
		t.Fatal(err)
	}
	if err := run(ctx, other); err != nil {
		t.Fatal(err)
	}
	if got := values(t, at, "o"); len(got) != 501 {
		t.Errorf("%d rows, want 501", len(got))
	}
}
