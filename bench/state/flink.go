package main

import (
	"context"
	"path/filepath"

	"weir.example/weir/bench/command"
	"weir.example/weir/bench/flinkjob"
	"weir.example/weir/internal/stack"
)

func (b *bench) flinkDir() string { return filepath.Join(b.dir, "flink") }

func (b *bench) startFlink(ctx context.Context) (err error) {
	command.Progress("start Flink %s", stack.FlinkVersion)
	b.flink, err = flinkjob.Start(ctx, b.weir, b.parallelism, b.flinkDir())
	return err
}

// runFlink runs the bounded pipeline on Flink. Its time starts with its first task; disk is the
// largest size of RocksDB's files, log that of the last checkpoint.
func (t *trial) runFlink(ctx context.Context) (f figures, err error) {
	id := "flink_" + t.workload
	f = figures{side: "flink", workload: t.workload, keys: t.keys, rows: t.rows()}
	file, err := t.writeSQL(id, true)
	if err != nil {
		return f, err
	}
	if err := t.createTopics(ctx, id); err != nil {
		return f, err
	}
	used, err := t.flink.Run(ctx, file, t.server.addr, func() error {
		disk, err := bytesIn(filepath.Join(t.flinkDir(), "tmp"))
		f.disk = max(f.disk, disk)
		return err
	})
	if err != nil {
		return f, err
	}
	f.took, f.cpu, f.peakKB = used.Ended.Sub(used.First), used.CPU, used.PeakKB
	if f.log, err = t.flink.LastCheckpoint(ctx, used.Job); err != nil {
		return f, err
	}
	return f, t.check(ctx, id)
}
