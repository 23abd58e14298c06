package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// figures are the results of one side for a workload and a number of keys.
type figures struct {
	side     string
	workload string
	keys     int
	rows     int
	took     time.Duration // of all rows
	cpu      time.Duration
	peakKB   int64
	disk     int64 // bytes of the local copy
	log      int64 // bytes of the changelog

	with, without restore // with the local copy and without it; zero if not measured
}

// restore has the time, CPU time and peak memory of a process from its start to its first commit.
type restore struct {
	took, cpu time.Duration
	peakKB    int64
}

func (r restore) String() string {
	if r.took == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f s (CPU %.2f s, %d MB)", r.took.Seconds(), r.cpu.Seconds(), r.peakKB>>10)
}

func (f figures) perSecond() float64 { return float64(f.rows) / f.took.Seconds() }

// cpuPerMillion returns CPU seconds per million rows.
func (f figures) cpuPerMillion() float64 { return f.cpu.Seconds() / float64(f.rows) * 1e6 }

func (f figures) perRow(bytes int64) float64 { return float64(bytes) / float64(f.rows) }

func (f figures) String() string {
	return fmt.Sprintf("%-5s %-5s %9d keys %8.0f rows/s %6.2f CPU s/M %5d MB  %5.1f B/row on disk, %5.1f in the log", f.side, f.workload, f.keys,
		f.perSecond(), f.cpuPerMillion(), f.peakKB>>10, f.perRow(f.disk), f.perRow(f.log))
}

func report(out io.Writer, all []figures) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "keys\tworkload\tside\trows\trows/s\tCPU s/M\tpeak\tdisk B/row\tlog B/row\trestore with copy\twithout\t")
	for _, f := range all {
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%.0f\t%.2f\t%d MB\t%.1f\t%.1f\t%s\t%s\t\n", f.keys, f.workload, f.side, f.rows, f.perSecond(), f.cpuPerMillion(), f.peakKB>>10, f.perRow(f.disk), f.perRow(f.log), f.with, f.without)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i, f := range all {
		if f.side == "flink" { // it follows weir's run on the same rows
			ours := all[i-1]
			fmt.Fprintf(out, "\n%s, %d keys, weir to flink: %.2fx the rows/s, %.2fx the CPU, %.2fx the memory, %.2fx the disk, %.2fx the log (flink: checkpoint)",
				f.workload, f.keys, ours.perSecond()/f.perSecond(), ours.cpu.Seconds()/f.cpu.Seconds(), ratio(ours.peakKB, f.peakKB), ratio(ours.disk, f.disk), ratio(ours.log, f.log))
		}
	}
	for i, f := range all {
		for _, first := range all[:i] {
			if f.side == "weir" && first.side == f.side && first.workload == f.workload && first.keys < f.keys {
				fmt.Fprintf(out, "\n%s, %gx the keys: %.2fx the memory, %.2fx the CPU per row", f.workload, float64(f.keys)/float64(first.keys),
					ratio(f.peakKB, first.peakKB), f.cpuPerMillion()/first.cpuPerMillion())
				if first.without.took > 0 && f.without.took > 0 {
					fmt.Fprintf(out, ", %.2fx the restore time with the local copy, %.2fx without", f.with.took.Seconds()/first.with.took.Seconds(), f.without.took.Seconds()/first.without.took.Seconds())
				}
				break
			}
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}

func ratio(a, b int64) float64 { return float64(a) / float64(max(b, 1)) }
