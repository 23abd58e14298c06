package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/site"
	"weir.example/weir/pipelines"
)

// runReport is the JSON output of weir run for a pipeline.
type runReport struct {
	Pipeline string `json:"pipeline"`
	engine.Result
}

// runFlags configure how pipelines run.
type runFlags struct {
	kafka       kafkaFlags
	topic       siteFlags
	admin       adminFlags
	traces      traceFlags
	out         output
	stop        stopFlag
	parallelism int
	instance    string
	stateDir    string
	cacheMB     int64
	sizeMB      int64
	cfg         engine.Config
	length      time.Duration
	alerts      string
	reset       string
	losses      []string
	makeTopics  bool // create Weir's own topics on any broker, not only on the embedded one
}

func (r *runFlags) add(cmd *cobra.Command) {
	r.kafka.add(cmd)
	r.admin.add(cmd, "")
	r.traces.add(cmd)
	f := cmd.Flags()
	f.IntVar(&r.parallelism, "parallelism", 1, "workers in this process; each has its own partitions and transactions")
	f.StringVar(&r.instance, "instance", "", "name of this process in its transactional ids, stable across restarts (default: host name and a free number)")
	f.StringVar(&r.stateDir, "state-dir", "", "directory for local state, so that a restart replays only the tail of the changelog; none keeps state in memory (default: state in --data-dir)")
	f.Int64Var(&r.cacheMB, "state-cache", 64, "memory in MiB for caching each task's local state")
	f.Int64Var(&r.sizeMB, "transaction-size", 16, "memory in MiB for the rows and state changes of a worker's transaction, which ends when it has more; half of it is fetched ahead from each broker")
	f.DurationVar(&r.cfg.CommitInterval, "commit-interval", 100*time.Millisecond, "longest transaction; one with few rows ends sooner, after a tenth of it at the earliest")
	f.DurationVar(&r.cfg.SessionTimeout, "session-timeout", 10*time.Second, "time after which the partitions of a dead process are reassigned")
	f.DurationVar(&r.cfg.TransactionTimeout, "transaction-timeout", 15*time.Second, "time after which the broker aborts the transaction of a dead process")
	f.StringVar(&r.cfg.Compression, "compression", "snappy", "compression of output records: none, gzip, snappy, lz4 or zstd")
	f.BoolVar(&r.cfg.UntilEnd, "until-end", false, "stop when all records that existed at the start are processed; the next run resumes there")
	f.StringVar(&r.alerts, "alerts", "", "file in YAML with the receivers of the pipelines' alerts")
	f.DurationVar(&r.length, "for", 0, "stop after this long")
	f.StringArrayVar(&r.losses, "accept-loss", nil, "continue although these records are missing: TOPIC/PARTITION:FROM-TO, as named by the error")
	f.BoolVar(&r.cfg.FromChangelog, "from-changelog", false, "recreate the lost topic <name>.plan from existing state that this SQL has written")
	f.BoolVar(&r.cfg.Repartition, "repartition", false, "accept the current number of partitions of the topics and move keyed state to the new partitions of its keys; all rows of the old partitions must have been read, and none of the new ones")
	r.stop.add(cmd)
	r.out.add(cmd)
}

func newRun() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run FILE…",
		Short: "Run pipelines: Flink SQL over Kafka, exactly once",
		Long: `Each file is a pipeline in Flink SQL. Offsets, results, state and dead letters are committed in one transaction. A
pipeline runs until Ctrl-C or, if all its sources have 'scan.bounded.mode' = 'latest-offset', to their end. Several
processes that run the same pipeline share its partitions. After a crash it resumes after the last commit.

Its name is that of the file or of SET 'pipeline.name'. Rows that can't be processed go to <name>.dlq, and rows that
arrive after their window has closed go to <name>.late.

Bundled pipelines need no file: ` + strings.Join(pipelines.Names(), ", ") + ".",
		Example: `  weir run pipelines/per_minute.sql
  weir run per_minute                      # a bundled pipeline
  weir run pipelines/per_minute.sql --brokers kafka-1:9092 --parallelism 4
  weir run --reset per_minute              # delete its state and offsets, and exit
  weir run hot.sql --alerts alerts.yaml    # and deliver its alerts
  weir check pipelines/per_minute.sql      # validate, no broker needed
  weir tail device_per_minute              # show the results`,
		Args: func(cmd *cobra.Command, files []string) error {
			if flags.reset == "" {
				return someFiles(cmd, files)
			}
			if len(files) > 0 {
				return usage(errors.New("--reset takes the name of a pipeline and no files: it deletes the pipeline's state and exits"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) error {
			if flags.reset != "" {
				return flags.runReset(cmd)
			}
			at, err := flags.topic.site()
			if err != nil {
				return err
			}
			programs, err := compileFiles(files, at)
			if err != nil {
				return err
			}
			return flags.run(cmd, programs, at)
		},
	}
	flags.add(cmd)
	flags.topic.add(cmd, bundledScope)
	cmd.Flags().StringVar(&flags.reset, "reset", "", "delete group, plan, state and repartition topics of the pipeline with this name, and exit; results, late rows and dead letters are kept")
	return cmd
}

// run runs pipelines concurrently and reports their results.
func (r *runFlags) run(cmd *cobra.Command, programs []*plan.Program, named site.Site) error {
	asJSON, err := r.out.json()
	if err != nil {
		return err
	}
	if r.parallelism < 1 || r.parallelism > 256 {
		return usage(fmt.Errorf("--parallelism must be 1 to 256, got %d", r.parallelism))
	}
	if r.sizeMB < 1 {
		return usage(fmt.Errorf("--transaction-size must be at least 1 MiB, got %d", r.sizeMB))
	}
	for _, text := range r.losses {
		gap, err := engine.ParseGap(text)
		if err != nil {
			return usage(fmt.Errorf("--accept-loss: %w", err))
		}
		r.cfg.AcceptLoss = append(r.cfg.AcceptLoss, gap)
	}
	alerts, err := readAlerts(r.alerts, programs)
	if err != nil {
		return err
	}
	if len(r.kafka.config.Brokers) == 0 {
		if r.kafka.config.Brokers, err = node.BrokersOf(programs...); err != nil {
			return usage(err)
		}
	}
	r.kafka.create = !slices.ContainsFunc(programs, func(p *plan.Program) bool { return !p.OnlyGenerated() })
	if err := r.stop.watch(cmd.Context(), cmd.ErrOrStderr()); err != nil {
		return err
	}
	defer spendMemory()()
	err = r.kafka.attached(cmd, func(ctx context.Context, log *slog.Logger, at *node.Attachment) error {
		if at.Embedded() || r.makeTopics {
			if err := node.ApplyTopics(ctx, at.Broker, named); err != nil {
				return err
			}
		}
		run := ctx
		if r.length > 0 {
			var cancel context.CancelFunc
			run, cancel = context.WithTimeout(ctx, r.length)
			defer cancel()
		}
		admin, err := r.admin.admin(ctx, at, log)
		if err != nil {
			return err
		}
		defer admin.Close()
		if asJSON { // stdout has the report, and nothing else
			admin.Outputs.Stdout = cmd.ErrOrStderr()
		}
		traced, err := r.traces.open(ctx, admin, log)
		if err != nil {
			return err
		}
		defer traced()
		if err := at.Observe(admin.Registry); err != nil {
			return err
		}
		r.admin.printAddress()
		ticker := newTicker(cmd.ErrOrStderr(), "processed", at.Describe())
		c := r.cfg
		c.Broker, c.Logger, c.StopTimeout = admin.Broker(at.Broker), log, r.stop.limit()
		c.CacheBytes, c.MaxBytes, c.StateDir = r.cacheMB<<20, r.sizeMB<<20, r.copies()
		c.OnCommit = func(n engine.Commit) { ticker.add(n.Records, n.DeadLetters) }
		all := node.Pipelines{Programs: programs, Engine: c, Instance: r.instance, Parallelism: r.parallelism, Site: named, Alerts: alerts, Admin: admin}
		results, err := all.Run(run)
		ticker.stop()
		if err != nil {
			return err
		}
		for i, result := range results {
			report := runReport{programs[i].Name, result}
			if err := report.write(cmd.OutOrStdout(), asJSON); err != nil {
				return err
			}
		}
		if r.cfg.UntilEnd && ctx.Err() != nil {
			return errInterrupted
		}
		return nil
	})
	if r.cfg.UntilEnd {
		return err
	}
	return untilStopped(cmd.Context(), err)
}

// copies returns the directory of the local copies of state; "" if there are none.
func (r *runFlags) copies() string {
	switch r.stateDir {
	case "":
		return filepath.Join(r.kafka.dataDir, "state")
	case "none":
		return ""
	}
	return r.stateDir
}

// runReset deletes the state of a pipeline and lists what was deleted.
func (r *runFlags) runReset(cmd *cobra.Command) error {
	asJSON, err := r.out.json()
	if err != nil {
		return err
	}
	return r.kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
		report, err := engine.Reset(ctx, at.Broker, r.reset, r.copies())
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if asJSON {
			return writeJSON(out, report)
		}
		if report.Empty() {
			return fmt.Errorf("pipeline %s not found: it has no group weir-%s, no topics and no local copy of its state", r.reset, r.reset)
		}
		var lines []string
		if report.Group != "" {
			lines = append(lines, "group "+report.Group)
		}
		for _, topic := range report.Topics {
			lines = append(lines, "topic "+topic)
		}
		if report.Folder != "" {
			lines = append(lines, "directory "+report.Folder)
		}
		_, err = fmt.Fprintf(out, "deleted %s\nPipeline %s starts from scratch next time. Results, late rows and dead letters are kept.\n", strings.Join(lines, "\ndeleted "), r.reset)
		return err
	})
}

func (r runReport) write(w io.Writer, asJSON bool) error {
	if asJSON {
		return writeJSON(w, r)
	}
	dropped := ""
	if len(r.Dropped) > 0 {
		dropped = fmt.Sprintf(", dropped by options: %s", r.Dropped)
	}
	_, err := fmt.Fprintf(w, "%s: %s in %s, %s out, %s late, %s, %s aborted%s\n",
		r.Pipeline, plural(r.Records, "record"), plural(r.Transactions, "transaction"), plural(r.Outputs, "row"), count(r.Late), plural(r.DeadLetters, "dead letter"), count(r.Aborted), dropped)
	if err == nil && r.Skipped > 0 {
		_, err = fmt.Fprintf(w, "%s: %s offsets were deleted before they were read; the log names topic, partition and range\n", r.Pipeline, count(r.Skipped))
	}
	return err
}

// compileFiles compiles pipelines. Errors contain file and line.
func compileFiles(files []string, at site.Site) ([]*plan.Program, error) {
	var programs []*plan.Program
	names := make(map[string]string)
	for _, file := range files {
		text, p, err := compileFile(file, at)
		if err != nil {
			return nil, &fileError{inFile(file, text, err)}
		}
		if other := names[p.Name]; other != "" {
			return nil, usage(fmt.Errorf("%s and %s are both named %s: SET 'pipeline.name' in one of them", other, file, p.Name))
		}
		names[p.Name] = file
		programs = append(programs, p)
	}
	return programs, nil
}
