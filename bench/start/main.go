// Command start measures how long the embedded broker takes to start on stored records, and the
// memory that it needs for that: after a clean stop and after a kill (-9).
//
// The broker runs in a process of its own, in a control group that limits its memory and, with
// -read-mbs, the speed of its disk, after the files have been dropped from the page cache. Without
// the permission to create control groups, the memory is only measured.
//
//	main.go    flags, the sequence of measurements, the report
//	broker.go  the process of the broker, and the records in it
//
// Peak is the largest resident set of the process from its start (VmHWM) minus that of a broker
// without records.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"

	"weir.example/weir/bench/cgroup"
	"weir.example/weir/bench/command"
)

type config struct {
	dir        string
	profile    string
	gigabytes  []float64
	batches    []int // bytes
	partitions int
	memoryMB   int
	readMBs    int // MB/s; 0: not limited
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == serveCommand {
		serve(os.Args[2:])
		return
	}
	var cfg config
	var sizes, batches string
	flag.StringVar(&cfg.dir, "dir", os.TempDir(), "directory for the records")
	flag.StringVar(&cfg.profile, "profile", "edge", "profile of the broker; its cap on stored bytes is lifted")
	flag.StringVar(&sizes, "gb", "1,4", "stored gigabytes (2^30 bytes)")
	flag.StringVar(&batches, "batch", "16384", "bytes of a batch")
	flag.IntVar(&cfg.partitions, "partitions", 8, "partitions of the topic")
	flag.IntVar(&cfg.memoryMB, "memory-mb", 512, "memory limit of the broker's process")
	flag.IntVar(&cfg.readMBs, "read-mbs", 0, "megabytes (10^6 bytes) that the disk reads per second, such as 40 for an SD card; 0 for no limit")
	flag.Parse()
	var err error
	if cfg.gigabytes, err = parse(sizes, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }); err == nil {
		cfg.batches, err = parse(batches, strconv.Atoi)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	command.Main(func(ctx context.Context) error { return run(ctx, cfg) })
}

func parse[T any](text string, one func(string) (T, error)) (all []T, err error) {
	for _, part := range strings.Split(text, ",") {
		v, err := one(part)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// figures are the measurements of one start.
type figures struct {
	gb    float64
	batch int
	stop  string
	start started
}

func run(ctx context.Context, cfg config) (err error) {
	group, err := cgroup.New(cfg.dir, cfg.memoryMB, cfg.readMBs)
	if err != nil {
		command.Progress("no control group, memory and disk are not limited: %v", err)
	}
	defer func() { err = errors.Join(err, group.Remove()) }()
	dir, err := os.MkdirTemp(cfg.dir, "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	idle, err := measure(ctx, cfg, group, filepath.Join(dir, "empty"))
	if err != nil {
		return err
	}
	command.Progress("without records: %d MB", idle.PeakKB>>10)
	var all []figures
	for _, gb := range cfg.gigabytes {
		for _, batch := range cfg.batches {
			data := filepath.Join(dir, "data")
			for _, stop := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
				name := map[syscall.Signal]string{syscall.SIGTERM: "clean", syscall.SIGKILL: "killed"}[stop]
				if stop == syscall.SIGTERM {
					command.Progress("store %g GB in batches of %d bytes", gb, batch)
				}
				if err := prepare(ctx, cfg, data, gb, batch, stop); err != nil {
					return err
				}
				s, err := measure(ctx, cfg, group, data)
				if err != nil {
					command.Progress("%g GB, %d bytes, %s: %v", gb, batch, name, err)
					s = started{Failed: err.Error()}
				}
				s.PeakKB -= idle.PeakKB
				all = append(all, figures{gb, batch, name, s})
			}
			if err := os.RemoveAll(data); err != nil {
				return err
			}
		}
	}
	return report(all)
}

func report(all []figures) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "GB\tbatch\tstop\tfiles\tstart\tper GB\tpeak\tafter\t")
	for _, f := range all {
		if f.start.Failed != "" {
			fmt.Fprintf(w, "%g\t%d\t%s\t\tfailed\t\t\t\t\n", f.gb, f.batch, f.stop)
			continue
		}
		fmt.Fprintf(w, "%g\t%d\t%s\t%d\t%.2f s\t%.2f s\t%d MB\t%d MB\t\n", f.gb, f.batch, f.stop, f.start.Files,
			f.start.Seconds, f.start.Seconds/f.gb, f.start.PeakKB>>10, f.start.AfterKB>>10)
	}
	return w.Flush()
}
