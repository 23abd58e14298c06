package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/plan"
)

// With this variable set, the test binary runs the pipeline bounded, and dies at certain records.
const childEnv = "WEIR_TEST_ENGINE_CHILD"

const childDied = 9

type child struct {
	Brokers  []string
	StateDir string
	Seed     uint64 // of deaths that no record causes, one in five transactions; 0 for none
}

// runChild dies while it computes a record that contains "poison", and after it has computed one
// that contains "beside".
func runChild(text string) int {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program, err := plan.Compile(bounded, "bounded")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	random := rand.New(rand.NewPCG(c.Seed, 1))
	var beside atomic.Bool
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err = Run(ctx, Config{
		Broker: broker.Config{Brokers: c.Brokers}, Program: program, Instances: []string{"a"}, StateDir: c.StateDir,
		CommitInterval: 20 * time.Millisecond, SessionTimeout: 300 * time.Millisecond,
		onStep: func(records []*kgo.Record) {
			for _, r := range records {
				if bytes.Contains(r.Value, []byte("poison")) {
					os.Exit(childDied)
				}
				if bytes.Contains(r.Value, []byte("beside")) {
					beside.Store(true)
				}
			}
			if c.Seed > 0 && random.IntN(5) == 0 {
				os.Exit(childDied)
			}
		},
		Now: func() time.Time {
			if beside.Load() {
				os.Exit(childDied)
			}
			return time.Now()
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// attemptsCluster starts a broker with records in three partitions. Those at the given numbers have
// the text in their value. It returns the rows that the pipeline is to write without the others,
// and where these are.
func attemptsCluster(t *testing.T, text string, at ...int) (c child, rows, positions []string) {
	t.Helper()
	const partitions, records = 3, 3000
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "readings", "even"), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	var all []*kgo.Record
	for i := range records {
		r := &kgo.Record{Topic: "readings", Partition: int32(i % partitions), Value: fmt.Appendf(nil, `{"n":%d}`, i)}
		switch {
		case slices.Contains(at, i):
			r.Value = fmt.Appendf(nil, `{"n":%d,"is":%q}`, i, text)
			positions = append(positions, fmt.Sprintf("readings-%d:%d", i%partitions, i/partitions))
		case i%2 == 0:
			rows = append(rows, string(r.Value))
		}
		all = append(all, r)
	}
	produceGiven(t, broker.Config{Brokers: cluster.ListenAddrs()}, all)
	slices.Sort(rows)
	slices.Sort(positions)
	return child{Brokers: cluster.ListenAddrs(), StateDir: filepath.Join(t.TempDir(), "state")}, rows, positions
}

// run starts processes until one ends by itself, and returns how many have died, and what the last
// one has written to standard error.
func (c child) run(t *testing.T) (deaths int, stderr string) {
	t.Helper()
	for ; deaths < 60; deaths++ {
		if c.Seed > 0 {
			c.Seed++
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0]) //nolint:gosec // this test
		cmd.Env = append(os.Environ(), childEnv+"="+string(text))
		var out strings.Builder
		cmd.Stderr = &out
		err = cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != childDied {
			if err != nil {
				return deaths, out.String() + err.Error()
			}
			return deaths, ""
		}
	}
	t.Fatalf("%d processes have died", deaths)
	return deaths, ""
}

// wrote returns the rows and the positions of dead letters that the pipeline has committed.
func (c child) wrote(t *testing.T) (rows, letters []string) {
	t.Helper()
	at := broker.Config{Brokers: c.Brokers}
	if err := broker.ReadAll(t.Context(), at, "even", nil, func(r *kgo.Record) error { rows = append(rows, string(r.Value)); return nil }); err != nil {
		t.Fatal(err)
	}
	err := broker.ReadAll(t.Context(), at, "bounded.dlq", nil, func(r *kgo.Record) error {
		l, err := deadletter.Parse(r)
		letters = append(letters, fmt.Sprintf("%s-%d:%d", l.Topic, l.OriginPartition, l.OriginOffset))
		if l.Reason != errPoison.Error() {
			t.Errorf("reason %q", l.Reason)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	slices.Sort(letters)
	return rows, letters
}

// A record that ends each process that computes it becomes a dead letter after a few of them have
// died, and all others are processed once. Before, each process died in turn.
func TestPoisonBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	c, want, poison := attemptsCluster(t, "poison", random.IntN(1500), 1500+random.IntN(1500))
	deaths, stderr := c.run(t)
	if stderr != "" {
		t.Fatal(stderr)
	}
	t.Logf("%d processes died", deaths)
	rows, letters := c.wrote(t)
	if !slices.Equal(letters, poison) {
		t.Errorf("dead letters %v, want %v", letters, poison)
	}
	if !slices.Equal(rows, want) {
		t.Errorf("%d rows, want %d", len(rows), len(want))
	}
	if left, err := filepath.Glob(filepath.Join(c.StateDir, ".attempts", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Processes that are killed at any record cost no row: no record is blamed.
func TestDeathsWithoutCauseBlameNothing(t *testing.T) {
	t.Parallel()
	c, want, _ := attemptsCluster(t, "")
	c.Seed = rand.Uint64N(1 << 60)
	t.Logf("seed %d", c.Seed)
	deaths, stderr := c.run(t)
	if stderr != "" {
		t.Fatal(stderr)
	}
	t.Logf("%d processes died", deaths)
	if rows, letters := c.wrote(t); len(letters) > 0 || !slices.Equal(rows, want) {
		t.Errorf("%d rows, want %d; dead letters %v", len(rows), len(want), letters)
	}
}

// Processes that die with a record, but not while they compute it, end with an error that names the
// record, and neither skip it nor lose what follows.
func TestDeathsBesideARecordStopThePipeline(t *testing.T) {
	t.Parallel()
	c, _, positions := attemptsCluster(t, "beside", 1000)
	deaths, stderr := c.run(t)
	topic, offset, _ := strings.Cut(positions[0], ":")
	if !strings.Contains(stderr, topic+" from offset "+offset) || !strings.Contains(stderr, "not while it computed it") {
		t.Errorf("after %d deaths: %s", deaths, stderr)
	}
	if _, letters := c.wrote(t); len(letters) > 0 {
		t.Errorf("dead letters %v", letters)
	}
}
