package main

import (
	"context"
	"path/filepath"

	"weir.example/weir/bench/flinkjob"
	"weir.example/weir/internal/stack"
)

func (b *bench) startFlink(ctx context.Context) (err error) {
	progress("start Flink %s", stack.FlinkVersion)
	b.flink, err = flinkjob.Start(ctx, b.weir, b.parallelism, "")
	return err
}

// runFlink runs a bounded job on Flink.
func (b *bench) runFlink(ctx context.Context, j job) (p process, said times, err error) {
	file := filepath.Join(j.Dir, "pipeline.sql")
	if err := writeSQL(file, j); err != nil {
		return p, said, err
	}
	used, err := b.flink.Run(ctx, file, j.Brokers, func() error { return nil })
	if !used.First.IsZero() {
		said.FirstRecord = used.First.UnixMilli()
	}
	return process{began: used.Began, cpu: used.CPU, peakKB: used.PeakKB}, said, err
}
