package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"weir.example/weir/bench/command"
	"weir.example/weir/bench/flow"
	"weir.example/weir/bench/topics"
	"weir.example/weir/bench/usage"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/stack"
)

// Topics of the measurement with a dead database.
const (
	deadSource = "bench_dead_rows"
	deadSink   = "bench_dead_results"
)

const (
	deadSettle  = 8 * time.Second // from the start of the pipeline, and from the recovery of the database
	deadCatchUp = 5 * time.Minute // until the database has all rows again
	deadDrain   = 30 * time.Second
)

// deadFlow measures the results that a pipeline writes to a topic, while the database beside it is
// in different states. Every row gets a number and goes to both.
type deadFlow struct {
	*bench
	id string

	mu      sync.Mutex
	offered []time.Time // by number
	seen    []time.Time // when the result was visible; zero if it is not
	again   int         // results that were seen twice
}

// deadState is a measurement.
type deadState struct {
	name          string
	results       int
	p50, p99, max time.Duration
	behind        int           // rows that the database did not have at its end
	caughtUp      time.Duration // until it had them
}

// dead runs the states after each other, in one process of the pipeline.
func (b *bench) dead(ctx context.Context) (err error) {
	f := &deadFlow{bench: b, id: "bench-dead"}
	if err := topics.Create(ctx, b.config(), partitions, deadSource); err != nil {
		return err
	}
	if err := topics.Create(ctx, b.config(), partitions, deadSink); err != nil {
		return err
	}
	if err := b.connect(ctx); err != nil {
		return err
	}
	if _, err := b.conn.Exec(ctx, "CREATE TABLE results (n bigint, v double precision)"); err != nil {
		return err
	}
	weir, err := f.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, weir()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.offer(ctx) })
	group.Go(func() error { return f.collect(ctx) })
	all, err := f.states(ctx)
	cancel()
	if err := errors.Join(group.Wait(), err); err != nil {
		return err
	}
	return reportDead(all)
}

// reportDead prints the medians of the runs of each state.
func reportDead(all []deadState) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "PostgreSQL\tresults\tp50 ms\tp99 ms\tof each run\tmax ms\trows behind at the end\tcaught up in s\t")
	for _, name := range []string{aliveState, stoppedState, killedState} {
		var runs []deadState
		results, p99 := 0, ""
		for _, s := range all {
			if s.name == name {
				runs, results, p99 = append(runs, s), results+s.results, p99+fmt.Sprintf(" %.0f", ms(s.p99))
			}
		}
		median := func(of func(deadState) float64) float64 { return command.Median(runs, of) }
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%s\t%.0f\t%.0f\t%.1f\t\n", name, results, median(func(s deadState) float64 { return ms(s.p50) }), median(func(s deadState) float64 { return ms(s.p99) }),
			p99[1:], median(func(s deadState) float64 { return ms(s.max) }), median(func(s deadState) float64 { return float64(s.behind) }), median(func(s deadState) float64 { return s.caughtUp.Seconds() }))
	}
	return w.Flush()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// start starts the pipeline. The returned function ends it.
func (f *deadFlow) start(ctx context.Context) (stop func() error, err error) {
	dir := filepath.Join(f.dir, f.id)
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // a temporary folder
		return nil, err
	}
	kafka := func(topic string) string {
		return fmt.Sprintf("'connector' = 'kafka', 'topic' = '%s', 'properties.bootstrap.servers' = '%s', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset'", topic, f.brokers)
	}
	text := fmt.Sprintf(`SET 'pipeline.name' = '%s';
CREATE TABLE r (n BIGINT, v DOUBLE) WITH (%s);
CREATE TABLE results_in_kafka (n BIGINT, v DOUBLE) WITH (%s);
CREATE TABLE results (n BIGINT, v DOUBLE) WITH ('connector' = 'jdbc', 'url' = '%s', 'table-name' = 'results', 'username' = '%s', 'password' = '%s');
INSERT INTO results_in_kafka SELECT * FROM r;
INSERT INTO results SELECT * FROM r;
`, f.id, kafka(deadSource), kafka(deadSink), f.postgres.URL("postgres"), stack.PostgresUser, stack.PostgresPassword)
	file := filepath.Join(dir, "pipeline.sql")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, f.weir, "run", file, "--brokers", f.brokers, "--parallelism", strconv.Itoa(f.parallelism)) //nolint:gosec // arguments built here
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return func() error {
		_ = cmd.Process.Signal(os.Interrupt) // it may have exited, which the measurement has noticed
		_ = cmd.Wait()
		out, err := os.ReadFile(log.Name())
		if f.verbose {
			fmt.Fprintf(os.Stderr, "%s\n", usage.Tail(out))
		}
		return errors.Join(err, log.Close())
	}, nil
}

// offer writes rows at the rate until the context ends.
func (f *deadFlow) offer(ctx context.Context) error {
	client, err := broker.Connect(ctx, f.config(), kgo.DefaultProduceTopic(deadSource), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(200_000))
	if err != nil {
		return err
	}
	defer client.Close()
	return flow.Offer(ctx, client, f.rate, func(n int64) (*kgo.Record, error) {
		f.mu.Lock()
		f.offered, f.seen = append(f.offered, time.Now()), append(f.seen, time.Time{})
		f.mu.Unlock()
		return &kgo.Record{Partition: int32(n % partitions), Value: fmt.Appendf(nil, `{"n":%d,"v":%g}`, n, float64(n%100)/4)}, nil //nolint:gosec // few partitions
	})
}

// collect reads committed results until the context ends.
func (f *deadFlow) collect(ctx context.Context) error {
	client, err := broker.Connect(ctx, f.config(), kgo.ConsumeTopics(deadSink), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	return flow.Collect(ctx, client, func(value []byte, now time.Time) error {
		var row struct{ N int }
		if err := json.Unmarshal(value, &row); err != nil {
			return fmt.Errorf("result %s: %w", value, err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.seen[row.N].IsZero() {
			f.again++
		}
		f.seen[row.N] = now
		return nil
	})
}

// States of the database.
const (
	aliveState   = "alive"
	stoppedState = "stopped (SIGSTOP)"
	killedState  = "killed (kill -9)"
)

// states measures each state in turn, so that other load on the machine affects all of them.
func (f *deadFlow) states(ctx context.Context) (all []deadState, err error) {
	nothing := func() error { return nil }
	type step struct {
		name      string
		die, rise func() error
	}
	alive := step{aliveState, nothing, nothing}
	stopped := step{stoppedState, f.postgres.Pause, f.postgres.Resume}
	killed := step{killedState, f.postgres.Kill, func() error { return f.postgres.Start(ctx) }}
	for _, s := range slices.Repeat([]step{alive, stopped, alive, killed}, f.rounds) {
		if err := retry.Sleep(ctx, deadSettle); err != nil {
			return nil, err
		}
		if err := s.die(); err != nil {
			return nil, err
		}
		state, err := f.measureState(ctx)
		if err := errors.Join(err, s.rise()); err != nil {
			return nil, err
		}
		state.name = s.name
		if state.behind, state.caughtUp, err = f.catchUp(ctx); err != nil {
			return nil, err
		}
		command.Progress("%s: p50 %.1f ms, p99 %.1f ms, max %.1f ms of %d results", s.name, ms(state.p50), ms(state.p99), ms(state.max), state.results)
		all = append(all, state)
	}
	return all, nil
}

// measureState returns the latencies of the rows that are offered from now on.
func (f *deadFlow) measureState(ctx context.Context) (s deadState, err error) {
	f.mu.Lock()
	from := len(f.offered)
	f.mu.Unlock()
	if err := retry.Sleep(ctx, f.deadFor); err != nil {
		return s, err
	}
	f.mu.Lock()
	to := len(f.offered)
	f.mu.Unlock()
	limit := time.Now().Add(deadDrain)
	for {
		values, again := f.latencies(from, to)
		switch {
		case again > 0:
			return s, fmt.Errorf("%d results are there twice", again)
		case len(values) == to-from && len(values) > 0:
			slices.Sort(values)
			return deadState{results: len(values), p50: flow.Quantile(values, 0.5), p99: flow.Quantile(values, 0.99), max: flow.Quantile(values, 1)}, nil
		case time.Now().After(limit):
			return s, fmt.Errorf("%d of %d results are missing after %s", to-from-len(values), to-from, deadDrain)
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return s, err
		}
	}
}

func (f *deadFlow) latencies(from, to int) (values []time.Duration, again int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := from; n < to; n++ {
		if !f.seen[n].IsZero() {
			values = append(values, f.seen[n].Sub(f.offered[n]))
		}
	}
	return values, f.again
}

// catchUp waits until the database has the rows that are offered until now, each once.
func (f *deadFlow) catchUp(ctx context.Context) (behind int, took time.Duration, err error) {
	f.mu.Lock()
	want := len(f.offered)
	f.mu.Unlock()
	began := time.Now()
	for first := true; ; first = false {
		var rows, different int
		err := f.connect(ctx)
		if err == nil {
			err = f.conn.QueryRow(ctx, "SELECT count(*), count(DISTINCT n) FROM results WHERE n < $1", want).Scan(&rows, &different)
		}
		switch {
		case err == nil && rows != different:
			return 0, 0, fmt.Errorf("the database has %d rows, of which %d are different", rows, different)
		case err == nil && first:
			behind = want - rows
		}
		if err == nil && rows == want {
			return behind, time.Since(began), nil
		}
		if time.Since(began) > deadCatchUp {
			return 0, 0, errors.Join(fmt.Errorf("the database has %d of %d rows after %s", rows, want, deadCatchUp), err)
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return 0, 0, err
		}
	}
}
