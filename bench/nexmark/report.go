package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// figures are the results of one run.
type figures struct {
	side, query string
	sink        string
	rows        int64
	took        time.Duration
	cpu         time.Duration
	brokerCPU   time.Duration
	peakKB      int64
	results     int // rows of the result
	differ      int // of them, from those of the first side
}

func (f figures) perSecond() float64 { return float64(f.rows) / f.took.Seconds() }

func (f figures) perMillion(d time.Duration) float64 { return d.Seconds() / float64(f.rows) * 1e6 }

func (f figures) String() string {
	return fmt.Sprintf("%-4s %-5s %9.0f rows/s %7.2f CPU s/M (broker %5.2f) %6d MB, %d results, %d differ", f.query, f.side, f.perSecond(), f.perMillion(f.cpu),
		f.perMillion(f.brokerCPU), f.peakKB>>10, f.results, f.differ)
}

// median returns the figures of the run of a side and query with the median CPU time.
func median(all []figures, side, query string) (figures, bool) {
	var own []figures
	for _, f := range all {
		if f.side == side && f.query == query {
			own = append(own, f)
		}
	}
	if len(own) == 0 {
		return figures{}, false
	}
	slices.SortFunc(own, func(a, b figures) int { return int(a.cpu - b.cpu) })
	return own[len(own)/2], true
}

// mean returns the geometric mean.
func mean(all []float64) float64 {
	sum := 0.0
	for _, x := range all {
		sum += math.Log(x)
	}
	return math.Exp(sum / float64(len(all)))
}

func report(out io.Writer, b *bench, all []figures) error {
	fmt.Fprintf(out, "%d events of %.0f bytes, seed %d, %d partitions, parallelism %d, %d rounds\n\n", b.rows, b.bytes, b.seed, partitions, b.parallelism, b.rounds)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "query\tside\trows/s\tCPU s/M\tbroker CPU s/M\tpeak MB\tresults\tdiffer\trows per CPU second, to flink\trows/s, to flink\t")
	var perCPU, perSecond []float64
	for _, query := range allQueries {
		flink, both := median(all, "flink", query)
		for _, side := range allSides {
			f, ran := median(all, side, query)
			if !ran {
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%.0f\t%.2f\t%.2f\t%d\t%d\t%d\t", query, side, f.perSecond(), f.perMillion(f.cpu), f.perMillion(f.brokerCPU), f.peakKB>>10, f.results, f.differ)
			if side == "weir" && both {
				perCPU, perSecond = append(perCPU, flink.cpu.Seconds()/f.cpu.Seconds()), append(perSecond, f.perSecond()/flink.perSecond())
				fmt.Fprintf(w, "%.2f\t%.2f\t\n", perCPU[len(perCPU)-1], perSecond[len(perSecond)-1])
				continue
			}
			fmt.Fprintln(w, "\t\t")
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(perCPU) > 0 {
		fmt.Fprintf(out, "\nweir to flink, geometric mean of %d queries: %.2f times the rows per CPU second, least %.2f; %.2f times the rows/s\n",
			len(perCPU), mean(perCPU), slices.Min(perCPU), mean(perSecond))
	}
	if weir, ok := median(all, "weir", "q1"); ok {
		if byHand, ok := median(all, "go", "q1"); ok {
			fmt.Fprintf(out, "weir to the program written by hand, q1: %.2f times the CPU\n", weir.cpu.Seconds()/byHand.cpu.Seconds())
		}
	}
	return nil
}
