// Command console measures the cost of watching a running Weir, in pairs of alternating runs of the
// same weir up:
//
//	overhead  readings at full speed, alone, and with metrics scraped each second, the console,
//	          and one page with numbers, a graph and a live preview: readings/s, CPU
//	crowd     readings at a steady rate, with an unused console, and with 200 pages of which half
//	          never read and half read a kilobyte per second: latency from a reading to its
//	          committed result, memory
//
// It prints the results of each run, the ratio of each pair, and the median of the ratios. Absolute
// numbers depend on the machine.
//
//	main.go      flags, pairs, the table
//	run.go       one weir up, from its start to its summary
//	watchers.go  the watchers
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"weir.example/weir/bench/binary"
	"weir.example/weir/bench/command"
)

type settings struct {
	rounds  int
	length  time.Duration // of a run
	rate    int           // readings per second while a crowd watches
	pages   int           // of the crowd
	devices int
	only    string // name of a measurement; "" for all
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 5, "pairs of runs of each measurement")
	flag.DurationVar(&s.length, "length", 15*time.Second, "of a run")
	flag.IntVar(&s.rate, "rate", 10_000, "readings a second while a crowd watches")
	flag.IntVar(&s.pages, "pages", 200, "pages of the crowd")
	flag.IntVar(&s.devices, "devices", 1000, "devices of the fleet")
	flag.StringVar(&s.only, "only", "", "overhead or crowd (default both)")
	flag.Parse()
	command.Main(func(ctx context.Context) error { return run(ctx, s) })
}

// measurement is a pair of sides.
type measurement struct {
	name  string
	sides [2]side // the first is the baseline
	value func(figures) float64
	unit  string
	goal  func(ratio float64) bool
	wants string
}

func (s settings) measurements() []measurement {
	full := []string{"--rate", "0"}
	steady := []string{"--rate", fmt.Sprint(s.rate)}
	nothing := []string{"--console-listen", "none", "--admin-listen", "none"}
	return []measurement{
		{
			name:  "overhead",
			sides: [2]side{{"alone", append(full, nothing...), nil}, {"watched", full, watchOne}},
			value: func(f figures) float64 { return f.PerSecond }, unit: "readings/s",
			goal: func(r float64) bool { return r >= 0.97 }, wants: "at least 0.97",
		},
		{
			name:  "crowd",
			sides: [2]side{{"nobody", steady, nil}, {fmt.Sprintf("%d pages", s.pages), steady, crowd(s.pages)}},
			value: func(f figures) float64 { return f.P99 }, unit: "ms p99",
			goal: func(r float64) bool { return r < 2 }, wants: "below 2",
		},
	}
}

func run(ctx context.Context, s settings) (err error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	weir, err := binary.Build(ctx, dir)
	if err != nil {
		return err
	}
	for _, m := range s.measurements() {
		if s.only != "" && s.only != m.name {
			continue
		}
		var pairs [][2]figures
		for round := range s.rounds {
			var pair [2]figures
			for i := range m.sides {
				at := (i + round) % 2 // the sides take turns going first
				if pair[at], err = m.sides[at].run(ctx, weir, dir, s); err != nil {
					return fmt.Errorf("%s, %s: %w", m.name, m.sides[at].name, err)
				}
				fmt.Fprintf(os.Stderr, "%s  round %d  %-9s %s\n", m.name, round+1, m.sides[at].name, pair[at])
			}
			pairs = append(pairs, pair)
		}
		m.print(os.Stdout, pairs)
	}
	return nil
}

// print writes the medians of both sides, the ratios of the pairs, and their median.
func (m *measurement) print(out io.Writer, pairs [][2]figures) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\n%s\treadings/s\tCPU s/M\tp50 ms\tp99 ms\tpeak MB\t\n", m.name)
	for i, side := range m.sides {
		of := func(value func(figures) float64) float64 {
			var all []float64
			for _, p := range pairs {
				all = append(all, value(p[i]))
			}
			return median(all)
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.0f\t%.0f\t%.0f\t\n", side.name,
			of(func(f figures) float64 { return f.PerSecond }), of(func(f figures) float64 { return f.CPU }),
			of(func(f figures) float64 { return f.P50 }), of(func(f figures) float64 { return f.P99 }), of(func(f figures) float64 { return f.PeakMB }))
	}
	_ = w.Flush()
	ratios := func(value func(figures) float64) (all []float64) {
		for _, p := range pairs {
			all = append(all, value(p[1])/value(p[0]))
		}
		return all
	}
	values := ratios(m.value)
	verdict := "met"
	if !m.goal(median(values)) {
		verdict = "NOT met"
	}
	fmt.Fprintf(out, "%s, %s by %s: median of the pairs %.3f, of %.3f; wanted %s: %s\n", m.unit, m.sides[1].name, m.sides[0].name, median(values), values, m.wants, verdict)
	cpu := ratios(func(f figures) float64 { return f.CPU })
	fmt.Fprintf(out, "CPU a reading, %s by %s: median of the pairs %.3f, of %.3f\n", m.sides[1].name, m.sides[0].name, median(cpu), cpu)
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
