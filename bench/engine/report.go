package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
)

// report has all results of a run.
type report struct {
	Kafka       string    `json:"kafka"`
	CPUs        int       `json:"cpus"`
	Rows        int64     `json:"rows"`
	Bytes       float64   `json:"mean_bytes"` // of a reading, without its key
	Compression string    `json:"compression"`
	Runs        []figures `json:"runs"`
	Medians     []figures `json:"medians"`
	Latencies   []latency `json:"latencies"`
	Goals       []goal    `json:"goals"`
}

// goal is a target for weir, relative to another side or absolute.
type goal struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Want  float64 `json:"want"`
	Most  bool    `json:"at_most"` // Want is a maximum, otherwise a minimum
}

func (g goal) met() bool {
	if g.Most {
		return g.Value <= g.Want
	}
	return g.Value >= g.Want
}

// conclude computes the medians, and evaluates the goals for which there are results.
func (r *report) conclude() {
	r.CPUs = runtime.NumCPU()
	of := make(map[string]figures)
	for _, side := range sideNames {
		for _, workload := range workloads(side) {
			var runs []figures
			for _, f := range r.Runs {
				if f.Side == side && f.Workload == workload {
					runs = append(runs, f)
				}
			}
			if len(runs) > 0 {
				m := medians(runs)
				of[side+" "+workload] = m
				r.Medians = append(r.Medians, m)
			}
		}
	}
	raw, hasRaw := of["raw read"]
	for _, workload := range workloads("weir") {
		weir, ok := of["weir "+workload]
		if !ok {
			continue
		}
		if streams, ok := of["streams "+workload]; ok {
			r.Goals = append(r.Goals,
				goal{workload + ": weir / streams, rows/s", weir.PerSecond / streams.PerSecond, 8, false},
				goal{workload + ": weir / streams, peak memory", weir.PeakMB / streams.PeakMB, 0.5, true})
		}
		if flink, ok := of["flink "+workload]; ok {
			r.Goals = append(r.Goals,
				goal{workload + ": weir / flink, rows/s", weir.PerSecond / flink.PerSecond, 4, false},
				goal{workload + ": weir / flink, CPU s/M rows", weir.CPU / flink.CPU, 0.25, true},
				goal{workload + ": weir / flink, peak memory", weir.PeakMB / flink.PeakMB, 0.25, true},
				goal{workload + ": weir, first result, seconds after the command", weir.First, 1, true})
		}
		if before, ok := of["before "+workload]; ok {
			r.Goals = append(r.Goals, goal{workload + ": weir / before, CPU s/M rows", weir.CPU / before.CPU, 1.03, true},
				goal{workload + ": weir / before, broker's CPU s/M rows", weir.BrokerCPU / before.BrokerCPU, 1.03, true})
		}
		if hasRaw {
			r.Goals = append(r.Goals, goal{workload + ": weir / raw, rows/s", weir.PerSecond / raw.PerSecond, 0.6, false})
		}
		if workload == "tumble" {
			r.Goals = append(r.Goals, goal{workload + ": weir, CPU s/M rows", weir.CPU, 1.5, true})
		}
	}
	for _, l := range r.Latencies {
		if l.Side == "weir" {
			r.Goals = append(r.Goals, goal{l.Workload + ": weir, p99 latency, ms", l.P99, 150, true})
		}
	}
}

// medians returns the median of each value separately.
func medians(runs []figures) figures {
	median := func(of func(figures) float64) float64 {
		var values []float64
		for _, f := range runs {
			values = append(values, of(f))
		}
		slices.Sort(values)
		n := len(values)
		return (values[(n-1)/2] + values[n/2]) / 2
	}
	return figures{
		Side: runs[0].Side, Workload: runs[0].Workload,
		CPU:       median(func(f figures) float64 { return f.CPU }),
		BrokerCPU: median(func(f figures) float64 { return f.BrokerCPU }),
		PerSecond: median(func(f figures) float64 { return f.PerSecond }),
		WithStart: median(func(f figures) float64 { return f.WithStart }),
		PeakMB:    median(func(f figures) float64 { return f.PeakMB }),
		First:     median(func(f figures) float64 { return f.First }),
	}
}

func (r *report) writeJSON(file string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644) //nolint:gosec // for everyone to read
}

func (r *report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%d readings of %.0f bytes, compression %s, %d devices, %d partitions, Kafka %s, one broker, %d CPUs\n",
		r.Rows, r.Bytes, r.Compression, devices, partitions, r.Kafka, r.CPUs)
	fmt.Fprintf(w, "exactly once, commits every %s; rows/s from the first row to the last commit, then with the process's start\n\n", commit)
	fmt.Fprintln(t, "CPU s/M rows\tbroker's\trows/s\twith start\tpeak MB\tfirst result s\tround\tworkload\tside\t")
	rows := func(all []figures) {
		for _, f := range all {
			round := "median"
			if f.Round > 0 {
				round = fmt.Sprint(f.Round)
			}
			fmt.Fprintf(t, "%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.2f\t%s\t%s\t%s\t\n", f.CPU, f.BrokerCPU, f.PerSecond, f.WithStart, f.PeakMB, f.First, round, f.Workload, f.Side)
		}
	}
	rows(r.Runs)
	rows(r.Medians)
	if len(r.Latencies) > 0 {
		fmt.Fprintln(t)
		fmt.Fprintln(t, "latency ms, p50\tp99\tmost\tresults\treadings/s\tworkload\tside\t")
		for _, l := range r.Latencies {
			fmt.Fprintf(t, "%.0f\t%.0f\t%.0f\t%d\t%.0f\t%s\t%s\t\n", l.P50, l.P99, l.Max, l.Results, l.Offered, l.Workload, l.Side)
		}
	}
	if len(r.Goals) > 0 {
		fmt.Fprintln(t)
		fmt.Fprintln(t, "value\tgoal\t\twhat\t")
		for _, g := range r.Goals {
			bound, met := ">=", "met"
			if g.Most {
				bound = "<="
			}
			if !g.met() {
				met = "missed"
			}
			fmt.Fprintf(t, "%.2f\t%s %g\t%s\t%s\t\n", g.Value, bound, g.Want, met, g.Name)
		}
	}
	return t.Flush()
}
