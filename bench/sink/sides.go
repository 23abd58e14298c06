package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/bench/command"
	"weir.example/weir/bench/topics"
	"weir.example/weir/bench/usage"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

func isFlink(side string) bool { return strings.HasPrefix(side, "flink") }

// measure runs a side once, and checks what it has written.
func (b *bench) measure(ctx context.Context, side, table string) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	b.runs++
	id := fmt.Sprintf("bench-%s-%s-%d", side, table, b.runs)
	file, err := b.pipeline(id, table, side == "flink-batches")
	if err != nil {
		return f, err
	}
	if err := b.create(ctx, table); err != nil {
		return f, err
	}
	if side == "weir-delivery" {
		if err := b.prepare(ctx, file, id); err != nil {
			return f, err
		}
	}
	f = figures{side: side, table: table, rows: b.rows}
	before, err := usage.Tree(b.postgres.PID())
	if err != nil {
		return f, err
	}
	if isFlink(side) {
		used, err := b.flink.Run(ctx, file, b.brokers, func() error { return nil })
		if err != nil {
			return f, err
		}
		f.took, f.client, f.peakKB = used.Ended.Sub(used.First), used.CPU, used.PeakKB
	} else {
		used, err := usage.Watch(b.command(ctx, side, table, file))
		if err != nil {
			return f, err
		}
		f.took, f.client, f.peakKB = used.Took, used.CPU, used.PeakKB
		if side == "rows" {
			f.rows = b.rows / repeats
		}
	}
	if err := b.settle(ctx); err != nil {
		return f, err
	}
	after, err := usage.Tree(b.postgres.PID())
	if err != nil {
		return f, err
	}
	f.server = after - before
	return f, errors.Join(b.check(ctx, side, table), topics.DeleteOthers(ctx, b.config(), source))
}

// settle waits until the server has ended the processes of other connections.
func (b *bench) settle(ctx context.Context) error {
	for left := 1; left > 0; {
		if err := retry.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		if err := b.conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()").Scan(&left); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) command(ctx context.Context, side, table, file string) *exec.Cmd {
	var cmd *exec.Cmd
	switch side {
	case "copy":
		cmd = exec.CommandContext(ctx, "psql", "-q", "-v", "ON_ERROR_STOP=1", b.postgres.DSN("postgres"), "-c", "\\copy results FROM '"+b.data.csv+"' CSV") //nolint:gosec // arguments built here
	case "rows":
		cmd = exec.CommandContext(ctx, b.self, "byhand", b.brokers, b.postgres.DSN("postgres"), table) //nolint:gosec // this binary
		cmd.Env = append(os.Environ(), "ROWS="+strconv.Itoa(b.rows/repeats))
	default:
		cmd = exec.CommandContext(ctx, b.weir, "run", file, "--brokers", b.brokers, "--parallelism", strconv.Itoa(b.parallelism)) //nolint:gosec // arguments built here
		if b.pprof != "" {
			cmd.Args = append(cmd.Args, "--admin-listen", b.pprof, "--pprof")
		}
	}
	cmd.Dir = filepath.Dir(file)
	return cmd
}

// prepare runs a pipeline while the database is down, until all of its rows are in the topic from
// which they are delivered, and starts the database.
func (b *bench) prepare(ctx context.Context, file, id string) error {
	if err := b.postgres.Kill(); err != nil {
		return err
	}
	run := b.command(ctx, "weir", "", file)
	if err := run.Start(); err != nil {
		return err
	}
	err := b.await(ctx, id)
	_ = run.Process.Kill()
	_ = run.Wait() // it was killed
	if err != nil {
		return err
	}
	command.Progress("%s: %d rows wait", id, b.rows)
	if err := b.postgres.Start(ctx); err != nil {
		return err
	}
	return b.connect(ctx)
}

// await waits until a pipeline has read all rows.
func (b *bench) await(ctx context.Context, id string) error {
	client, err := broker.Connect(ctx, b.config())
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		committed, err := kadm.NewClient(client).FetchOffsets(ctx, "weir-"+id)
		if err == nil {
			sum := int64(0)
			committed.Each(func(o kadm.OffsetResponse) { sum += max(0, o.At) })
			if sum == int64(b.rows) {
				return nil
			}
		}
		if err := retry.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}
