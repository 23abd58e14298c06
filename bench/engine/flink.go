package main

import (
	"context"
	"path/filepath"

	"weir.example/weir/bench/command"
	"weir.example/weir/bench/flinkjob"
	"weir.example/weir/bench/usage"
	"weir.example/weir/internal/stack"
)

func (b *bench) startFlink(ctx context.Context) (err error) {
	command.Progress("start Flink %s", stack.FlinkVersion)
	b.flink, err = flinkjob.Start(ctx, b.weir, b.parallelism, "")
	return err
}

// runFlink runs a bounded job on Flink.
func (b *bench) runFlink(ctx context.Context, j job) (p usage.Process, said times, err error) {
	file := filepath.Join(j.Dir, "pipeline.sql")
	if err := writeSQL(file, j); err != nil {
		return p, said, err
	}
	used, err := b.flink.Run(ctx, file, j.Brokers, func() error { return nil })
	if !used.First.IsZero() {
		said.FirstRecord = used.First.UnixMilli()
	}
	return usage.Process{Began: used.Began, CPU: used.CPU, PeakKB: used.PeakKB}, said, err
}
