package main

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/chaos"
)

// Environment variables that set the number, the seed and the kinds of accidents to run.
const (
	accidentsEnv    = "WEIR_TEST_ACCIDENTS"
	accidentSeedEnv = "WEIR_TEST_ACCIDENT_SEED"
	accidentKindEnv = "WEIR_TEST_ACCIDENT_KINDS"
)

// A stateful pipeline under load is hit by an accident at a random moment. Afterwards its rows
// equal an offline recomputation, or it refuses and names the cause. make accidents runs 200 of
// them, TestOnKafka a few on a real broker.
func TestAccidents(t *testing.T) {
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	n := len(chaos.Accidents())
	if testing.Short() {
		n = 10
	}
	accidents(t, broker.Config{Brokers: []string{b.Addr()}}, n, 4)
}

// accidents runs n accidents on a number of workers, each kind equally often.
func accidents(t *testing.T, at broker.Config, n, workers int) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(accidentSeedEnv); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	if text := os.Getenv(accidentsEnv); text != "" {
		n, _ = strconv.Atoi(text)
	}
	t.Logf("seed %d", seed)
	var kinds []chaos.Accident
	for _, k := range chaos.Accidents() {
		if only := os.Getenv(accidentKindEnv); only == "" || strings.Contains(","+only+",", ","+k.Kind+",") {
			kinds = append(kinds, k)
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	stage := chaos.Stage{
		Weir:   chaos.Weir{Binary: os.Args[0], Env: []string{mainEnv + "=1", "TMPDIR=" + slotDir(t)}},
		Broker: at, Dir: t.TempDir(),
	}
	if keep := os.Getenv("WEIR_TEST_ACCIDENT_DIR"); keep != "" {
		stage.Dir = keep
	}
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		count = make(map[string]int)
		turn  = make(chan int)
	)
	for range workers {
		wait.Go(func() {
			for i := range turn {
				r := stage.Run(t.Context(), kinds[i%len(kinds)], seed+uint64(i))
				mu.Lock()
				count[r.Outcome]++
				if r.Outcome == chaos.Wrong {
					t.Errorf("%s, seed %d (%s, %d rows):\n  %s\n  refusal: %s\n  logs: %s", r.Kind, r.Seed, r.Variant, r.Rows,
						strings.Join(r.Wrong[:min(len(r.Wrong), 6)], "\n  "), r.Message, r.Logs)
				} else {
					t.Logf("%s, seed %d (%s): %s in %s %s", r.Kind, r.Seed, r.Variant, r.Outcome, r.Took.Round(time.Millisecond), r.Message)
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		turn <- i
	}
	close(turn)
	wait.Wait()
	t.Logf("%d accidents: %v", n, count)
}
