// Command sink measures how rows get from a topic into PostgreSQL: with weir run, with Flink's JDBC
// sink, with a program that writes row by row, and with COPY by psql from a file, which is the
// ceiling. All write the same rows to the same server: to a table without a key, and to one with a
// primary key, each of whose rows is written ten times on average.
//
//	main.go   flags, the sequence of runs, the report
//	data.go   the rows: the topic, and the file for psql
//	sides.go  a run of a side
//	byhand.go the program that writes row by row
//	table.go  tables of the database, and the check of what is in them
//	dead.go   -dead: results in Kafka beside a database that is dead
//
// The server has fsync off, and 32 MB of shared buffers, as for tests: its CPU time is measured,
// not the disk. CPU time is that of the client (weir; Flink's JobManager and TaskManager; psql; the
// program) and that of all processes of the server. Kafka's is left out. The time of a process
// starts with it, that of Flink with the job's first task. The side weir-delivery begins with all
// rows in the topic of the results, as after an outage of the database.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"weir.example/weir/bench/binary"
	"weir.example/weir/bench/command"
	"weir.example/weir/bench/flinkjob"
	"weir.example/weir/internal/stack"
)

const (
	partitions = 4
	source     = "bench_rows"
	runLimit   = 15 * time.Minute // of one run
)

var allSides = []string{"copy", "weir", "weir-delivery", "rows", "flink", "flink-batches"}

type settings struct {
	rows        int
	rounds      int
	tables      []string
	sides       []string
	parallelism int
	pprof       string

	deadFor time.Duration // 0: the sides are compared
	rate    int
	verbose bool
}

func main() {
	if len(os.Args) == 5 && os.Args[1] == "byhand" {
		if err := byHand(context.Background(), os.Args[2], os.Args[3], os.Args[4] == keyed); err != nil {
			fmt.Fprintln(os.Stderr, "rows:", err)
			os.Exit(1)
		}
		return
	}
	var s settings
	var tables, sides string
	flag.IntVar(&s.rows, "rows", 1_000_000, "rows of a run; the side rows writes a tenth of them")
	flag.IntVar(&s.rounds, "rounds", 1, "runs of each side, or of each case with -dead; the table has the medians of each figure")
	flag.StringVar(&tables, "tables", plain+","+keyed, "tables to write: plain (without a key), keyed")
	flag.StringVar(&sides, "sides", strings.Join(allSides, ","), "sides to run; copy writes the plain table only")
	flag.IntVar(&s.parallelism, "parallelism", 2, "workers of weir, slots of Flink")
	flag.StringVar(&s.pprof, "pprof", "", "host:port where weir serves /debug/pprof while it runs")
	flag.DurationVar(&s.deadFor, "dead", 0, "instead of the sides, measure for so long in each case how late results in Kafka are beside a database that is alive, stopped and killed")
	flag.IntVar(&s.rate, "rate", 2000, "rows per second with -dead")
	flag.BoolVar(&s.verbose, "v", false, "print the end of weir's log with -dead")
	flag.Parse()
	s.tables, s.sides = strings.Split(tables, ","), strings.Split(sides, ",")
	if err := s.validate(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	command.Main(func(ctx context.Context) error { return run(ctx, s) })
}

func (s *settings) validate() error {
	for _, side := range s.sides {
		if !slices.Contains(allSides, side) {
			return fmt.Errorf("unknown side %q: choose from %s", side, strings.Join(allSides, ", "))
		}
	}
	for _, t := range s.tables {
		if t != plain && t != keyed {
			return fmt.Errorf("unknown table %q: choose from %s and %s", t, plain, keyed)
		}
	}
	if s.rate < 1 || s.deadFor < 0 {
		return errors.New("expected at least one row per second, and a duration that is not negative")
	}
	if s.rows < 1000 || s.rounds < 1 || s.parallelism < 1 || s.parallelism > partitions {
		return fmt.Errorf("expected at least 1000 rows, one round, and a parallelism of 1 to %d", partitions)
	}
	return nil
}

type bench struct {
	settings
	dir      string
	self     string // this program, for the side rows
	weir     string // binary
	brokers  string // host:port
	flink    *flinkjob.Cluster
	postgres *stack.Postgres
	conn     *pgx.Conn
	data     data
	runs     int // so far; makes names unique
}

func run(ctx context.Context, s settings) (err error) {
	b := &bench{settings: s}
	if b.dir, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.weir, err = binary.Build(ctx, b.dir); err != nil {
		return err
	}
	command.Progress("start Kafka %s and PostgreSQL", stack.KafkaVersion)
	kafka, err := stack.StartKafka(ctx, stack.Options{Heap: "1g"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kafka.Close()) }()
	b.brokers = kafka.Brokers()[0]
	if b.postgres, err = stack.StartPostgres(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.postgres.Close()) }()
	if s.deadFor > 0 {
		return b.dead(ctx)
	}
	if err := b.fill(ctx); err != nil {
		return err
	}
	if slices.ContainsFunc(s.sides, isFlink) {
		command.Progress("start Flink %s", stack.FlinkVersion)
		if b.flink, err = flinkjob.Start(ctx, b.weir, s.parallelism, ""); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.flink.Close()) }()
		command.Progress("warm Flink up")
		if _, err := b.measure(ctx, "flink-batches", plain); err != nil {
			return err
		}
	}
	all, err := b.measureAll(ctx)
	return errors.Join(report(all), err)
}

// measureAll runs the sides in turn, so that other load on the machine affects all of them.
func (b *bench) measureAll(ctx context.Context) (all []figures, err error) {
	for range b.rounds {
		for _, table := range b.tables {
			for _, side := range b.sides {
				if side == "copy" && table == keyed {
					continue
				}
				f, err := b.measure(ctx, side, table)
				if err != nil {
					return all, fmt.Errorf("%s, %s: %w", side, table, err)
				}
				command.Progress("%s", f)
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// figures are the measurements of a run.
type figures struct {
	side, table string
	rows        int
	took        time.Duration
	client      time.Duration // CPU
	server      time.Duration // CPU
	peakKB      int64         // of the client
}

func (f figures) String() string {
	return fmt.Sprintf("%s, %s: %d rows in %.1f s, CPU %.1f s of the client and %.1f s of the server", f.side, f.table, f.rows, f.took.Seconds(), f.client.Seconds(), f.server.Seconds())
}

// perMillion returns the seconds of a million rows.
func (f figures) perMillion(of time.Duration) float64 {
	return of.Seconds() / float64(f.rows) * 1e6
}

// report prints the medians of the runs of each side.
func report(all []figures) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "table\tside\trows/s\tclient CPU s per million\tserver CPU s per million\tboth\tpeak memory\t")
	type key struct{ table, side string }
	runs := make(map[key][]figures)
	var order []key
	for _, f := range all {
		k := key{f.table, f.side}
		if runs[k] == nil {
			order = append(order, k)
		}
		runs[k] = append(runs[k], f)
	}
	for _, k := range order {
		of := runs[k]
		rate := command.Median(of, func(f figures) float64 { return float64(f.rows) / f.took.Seconds() })
		client := command.Median(of, func(f figures) float64 { return f.perMillion(f.client) })
		server := command.Median(of, func(f figures) float64 { return f.perMillion(f.server) })
		both := command.Median(of, func(f figures) float64 { return f.perMillion(f.client + f.server) })
		peak := command.Median(of, func(f figures) float64 { return float64(f.peakKB) / 1000 })
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.0f MB\t\n", k.table, k.side, rate, client, server, both, peak)
	}
	return w.Flush()
}
