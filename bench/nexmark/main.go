// Command nexmark runs the queries of Nexmark with Weir and on Flink, on one real broker, in
// alternating runs over the same topic: 4 partitions of JSON with a ROW for each kind of event,
// about 420 bytes each, both exactly once into Kafka.
//
// The queries are those of nexmark/nexmark for a Kafka source, except q6 (which Flink doesn't
// support), q10 (a file sink), q12 (processing time) and q13 (a table in memory); q14 is without
// its function in Java. Flink runs with two slots, RocksDB and checkpoints every 5 seconds, and is
// warmed up by the first queries before it is measured. The results of each run are compared: those
// of Weir and Flink must be the same rows, or the same last rows of each key.
//
// CPU time is that of weir, and that of Flink's JobManager and TaskManager; the broker's is apart.
// The time of weir starts with its process, that of Flink with the job's first task. Absolute
// figures depend on the machine; only the ratios matter.
//
// The side before is weir of an earlier revision, which -before names.
//
// The side go is a program written by hand for q1 over the same records, in transactions of 100 ms.
//
//	main.go    flags, the sequence of runs
//	events.go  the generator
//	topics.go  filling, creating and deleting topics
//	run.go     a run of a query by a side
//	byhand.go  q1 as a program
//	results.go compares the rows of the sides
//	report.go  the table and the means of the ratios
//	sql/       source.sql, and a file for each query
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/template"
	"time"

	"weir.example/weir/bench/binary"
	"weir.example/weir/bench/command"
	"weir.example/weir/bench/flinkjob"
	"weir.example/weir/internal/stack"
)

const (
	partitions = 4
	source     = "nexmark_events"
	commit     = 100 * time.Millisecond
	runLimit   = 10 * time.Minute // of one run
)

var (
	allQueries = []string{"q0", "q1", "q2", "q3", "q4", "q5", "q7", "q8", "q9", "q11", "q14", "q15", "q16", "q17", "q18", "q19", "q20", "q21", "q22", "q23"}
	allSides   = []string{"weir", "before", "flink", "go"}
)

//go:embed sql/*.sql
var sqlFiles embed.FS

var sqlTemplates = template.Must(template.ParseFS(sqlFiles, "sql/*.sql"))

type settings struct {
	rows        int64
	rounds      int
	seed        uint64
	queries     []string
	sides       []string
	parallelism int
	warm        bool
	pprof       string
	before      string // git revision
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "byhand" {
		if err := byHand(context.Background(), os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "go:", err)
			os.Exit(1)
		}
		return
	}
	var s settings
	var queries, sides string
	flag.Int64Var(&s.rows, "rows", 2_000_000, "events in the topic")
	flag.IntVar(&s.rounds, "rounds", 1, "runs of each side and query; the table has their medians")
	flag.Uint64Var(&s.seed, "seed", 1, "of the generator")
	flag.StringVar(&queries, "queries", strings.Join(allQueries, ","), "queries to run")
	flag.StringVar(&sides, "sides", "weir,flink,go", "sides to run: weir, flink, go (q1 only)")
	flag.IntVar(&s.parallelism, "parallelism", 2, "workers of weir, slots of Flink")
	flag.BoolVar(&s.warm, "warm", true, "run q0 and q17 on Flink before anything is measured")
	flag.StringVar(&s.pprof, "pprof", "", "host:port where weir serves /debug/pprof while it runs")
	flag.StringVar(&s.before, "before", "", "git revision whose weir is measured too, as the side \"before\"")
	flag.Parse()
	s.queries, s.sides = strings.Split(queries, ","), strings.Split(sides, ",")
	if s.before != "" && !s.has("before") {
		s.sides = append(s.sides, "before")
	}
	if err := s.validate(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	command.Main(func(ctx context.Context) error { return run(ctx, s) })
}

func (s *settings) validate() error {
	for _, c := range []struct {
		what       string
		given, all []string
	}{{"query", s.queries, allQueries}, {"side", s.sides, allSides}} {
		for _, name := range c.given {
			if !slices.Contains(c.all, name) {
				return fmt.Errorf("unknown %s %q: choose from %s", c.what, name, strings.Join(c.all, ", "))
			}
		}
	}
	switch {
	case s.rows < 10_000 || s.rounds < 1:
		return errors.New("expected at least 10000 rows and one round")
	case s.parallelism < 1 || s.parallelism > partitions:
		return fmt.Errorf("expected a parallelism of 1 to %d", partitions)
	case s.has("before") && s.before == "":
		return errors.New("side before needs a git revision: -before REVISION")
	}
	return nil
}

func (s *settings) has(side string) bool { return slices.Contains(s.sides, side) }

type bench struct {
	settings
	dir       string
	self      string // this program, for the side go
	weir      string // binary
	old       string // binary of the side before
	flink     *flinkjob.Cluster
	brokers   string // host:port
	brokerPID int
	runs      int     // so far; makes names unique
	bytes     float64 // of an event, on average
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
	if b.has("before") {
		if b.old, err = binary.BuildRevision(ctx, b.dir, b.before); err != nil {
			return err
		}
	}
	command.Progress("start Kafka %s", stack.KafkaVersion)
	kafka, err := stack.StartKafka(ctx, stack.Options{Heap: "1g"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kafka.Close()) }()
	b.brokers, b.brokerPID = kafka.Brokers()[0], kafka.PID(0)
	if err := b.fill(ctx); err != nil {
		return err
	}
	if b.has("flink") {
		command.Progress("start Flink %s", stack.FlinkVersion)
		if b.flink, err = flinkjob.Start(ctx, b.weir, b.parallelism, ""); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.flink.Close()) }()
	}
	all, err := b.measureAll(ctx)
	return errors.Join(report(os.Stdout, b, all), err)
}

// measureAll runs the sides in turn, so that other load on the machine affects all of them. A query
// that fails is left out.
func (b *bench) measureAll(ctx context.Context) (all []figures, err error) {
	if b.has("flink") && b.warm {
		for _, query := range []string{"q0", "q17"} {
			command.Progress("warm Flink up with %s", query)
			if _, err := b.measure(ctx, "flink", query); err != nil {
				return nil, err
			}
			if err := b.forget(ctx); err != nil {
				return nil, err
			}
		}
	}
	for range b.rounds {
		for _, query := range b.queries {
			more, failed := b.measureQuery(ctx, query)
			all = append(all, more...)
			if failed != nil {
				command.Progress("%v", failed)
				err = errors.Join(err, failed)
			}
			if ctx.Err() != nil {
				return all, err
			}
		}
	}
	return all, err
}

// measureQuery runs a query on each side, and compares their results.
func (b *bench) measureQuery(ctx context.Context, query string) (all []figures, err error) {
	var first *rows
	for _, side := range b.sides {
		if side == "go" && query != "q1" {
			continue
		}
		f, err := b.measure(ctx, side, query)
		if err != nil {
			return all, fmt.Errorf("%s %s: %w", side, query, err)
		}
		results, err := b.results(ctx, f.sink, query)
		if err != nil {
			return all, err
		}
		f.results = results.count()
		if first == nil {
			first = results
		}
		f.differ = first.differences(results)
		command.Progress("%s", f)
		all = append(all, f)
	}
	return all, b.forget(ctx)
}
