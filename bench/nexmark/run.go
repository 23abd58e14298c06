package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"weir.example/weir/bench/usage"
)

// job is one run of a query by a side. Its fields are used by the templates of the queries.
type job struct {
	ID      string // unique: pipeline, group, prefix of transactional ids
	Brokers string
	Source  string // topic
	Sink    string // topic
	file    string // SQL
}

func (b *bench) job(side, query string) (job, error) {
	b.runs++
	id := fmt.Sprintf("nexmark-%s-%s-%d", side, query, b.runs)
	dir := filepath.Join(b.dir, id)
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // a temporary folder
		return job{}, err
	}
	j := job{ID: id, Brokers: b.brokers, Source: source, Sink: id, file: filepath.Join(dir, "pipeline.sql")}
	var sql bytes.Buffer
	if err := sqlTemplates.ExecuteTemplate(&sql, query+".sql", j); err != nil {
		return j, err
	}
	return j, os.WriteFile(j.file, sql.Bytes(), 0o600)
}

// measure runs a query once. Its topics remain.
func (b *bench) measure(ctx context.Context, side, query string) (figures, error) {
	f := figures{side: side, query: query, rows: b.rows}
	j, err := b.job(side, query)
	if err != nil {
		return f, err
	}
	f.sink = j.Sink
	if err := b.create(ctx, j.Sink); err != nil {
		return f, err
	}
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	before, err := usage.CPU(b.brokerPID)
	if err != nil {
		return f, err
	}
	if side == "flink" {
		used, err := b.flink.Run(ctx, j.file, j.Brokers, func() error { return nil })
		if err != nil {
			return f, err
		}
		f.took, f.cpu, f.peakKB = used.Ended.Sub(used.First), used.CPU, used.PeakKB
	} else {
		used, err := usage.Watch(b.command(ctx, side, j))
		if err != nil {
			return f, err
		}
		f.took, f.cpu, f.peakKB = used.Took, used.CPU, used.PeakKB
	}
	after, err := usage.CPU(b.brokerPID)
	f.brokerCPU = after - before
	return f, err
}

func (b *bench) command(ctx context.Context, side string, j job) *exec.Cmd {
	if side == "go" {
		return exec.CommandContext(ctx, b.self, "byhand", j.Brokers, j.Sink) //nolint:gosec // this binary
	}
	weir := b.weir
	if side == "before" {
		weir = b.old
	}
	args := []string{"run", j.file, "--brokers", j.Brokers, "--commit-interval", commit.String(), "--parallelism", strconv.Itoa(b.parallelism)}
	cmd := exec.CommandContext(ctx, weir, args...) //nolint:gosec // arguments built here
	cmd.Dir = filepath.Dir(j.file)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	if b.pprof != "" {
		cmd.Args = append(cmd.Args, "--admin-listen", b.pprof, "--pprof")
	}
	return cmd
}
