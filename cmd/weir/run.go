package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"weir/engine"
	"weir/node"
	"weir/plan"
)

// runReport is what weir run says of a pipeline for programs.
type runReport struct {
	Pipeline string `json:"pipeline"`
	engine.Result
}

func newRun() *cobra.Command {
	var (
		kafka       kafkaFlags
		out         output
		parallelism int
		instance    string
		stateDir    string
		cacheMB     int64
		cfg         engine.Config
		length      time.Duration
	)
	cmd := &cobra.Command{
		Use:   "run FILE…",
		Short: "Run pipelines: Flink SQL over Kafka, exactly once",
		Long: `Each file is a pipeline in Flink's SQL. What it reads, what it writes, its state and its dead letters are one
transaction. It runs until Ctrl-C, or, where all its sources have 'scan.bounded.mode' = 'latest-offset', to their end.
Several processes that run the same pipeline share its partitions. After a crash it goes on where it was.

Its name is the file's, or that of SET 'pipeline.name'. Rows that can't be processed go to <name>.dlq, rows that come
after their window has closed to <name>.late.`,
		Example: `  weir run pipelines/per_minute.sql
  weir run pipelines/per_minute.sql --brokers kafka-1:9092 --parallelism 4
  weir check pipelines/per_minute.sql      # is it right? without a broker
  weir tail device_per_minute              # what comes out`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, files []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if parallelism < 1 || parallelism > 256 {
				return usage(fmt.Errorf("parallelism %d: choose 1 to 256", parallelism))
			}
			programs, err := compileFiles(files)
			if err != nil {
				return err
			}
			if len(kafka.config.Brokers) == 0 {
				if kafka.config.Brokers, err = brokersOf(programs); err != nil {
					return err
				}
			}
			if stateDir == "" {
				stateDir = filepath.Join(kafka.dataDir, "state")
			}
			return kafka.attached(cmd, func(ctx context.Context, log *slog.Logger, at *node.Attachment) error {
				if at.Embedded() {
					if err := node.ApplyDefaultTopics(ctx, at.Broker); err != nil {
						return err
					}
				}
				run := ctx
				if length > 0 {
					var cancel context.CancelFunc
					run, cancel = context.WithTimeout(ctx, length)
					defer cancel()
				}
				ticker := newTicker(cmd.ErrOrStderr(), "processed", at.Where())
				var lock sync.Mutex
				reports := make([]runReport, len(programs))
				group, run := errgroup.WithContext(run)
				for i, program := range programs {
					c := cfg
					c.Broker, c.Program, c.Logger, c.CacheBytes = at.Broker, program, log, cacheMB<<20
					if stateDir != "none" {
						c.StateDir = stateDir
					}
					c.OnCommit = func(n engine.Commit) { ticker.add(n.Records, n.DeadLetters) }
					group.Go(func() error {
						free, err := takeInstances(&c, instance, parallelism)
						if err != nil {
							return err
						}
						defer free()
						result, err := engine.Run(run, c)
						lock.Lock()
						reports[i] = runReport{program.Name, result}
						lock.Unlock()
						if err != nil {
							return fmt.Errorf("pipeline %s: %w", program.Name, err)
						}
						return nil
					})
				}
				err := group.Wait()
				ticker.stop()
				if err != nil {
					return err
				}
				for _, r := range reports {
					if asJSON {
						if err := writeJSON(cmd.OutOrStdout(), r); err != nil {
							return err
						}
						continue
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s records in %s transactions, %s rows out, %s late, %s dead letters, %s aborted\n",
						r.Pipeline, count(r.Records), count(r.Transactions), count(r.Outputs), count(r.Late), count(r.DeadLetters), count(r.Aborted))
				}
				return nil
			})
		},
	}
	kafka.add(cmd)
	f := cmd.Flags()
	f.IntVar(&parallelism, "parallelism", 1, "workers of this process; each has partitions and transactions of its own")
	f.StringVar(&instance, "instance", "", "name of this process in its transactional ids, stable over restarts (default: host name and a free number)")
	f.StringVar(&stateDir, "state-dir", "", "local copies of the state, so that a restart reads little of the changelog; none keeps it in memory (default: state in --data-dir)")
	f.Int64Var(&cacheMB, "state-cache", 64, "MiB of memory for the state of each task in front of its local copy")
	f.DurationVar(&cfg.CommitInterval, "commit-interval", 100*time.Millisecond, "length of a transaction")
	f.DurationVar(&cfg.SessionTimeout, "session-timeout", 10*time.Second, "after which the group gives a dead process's partitions away")
	f.DurationVar(&cfg.TransactionTimeout, "transaction-timeout", 15*time.Second, "after which the broker aborts a dead process's transaction")
	f.StringVar(&cfg.Compression, "compression", "lz4", "of what it writes: none, gzip, snappy, lz4, zstd")
	f.DurationVar(&length, "for", 0, "stop by itself after this time")
	out.add(cmd)
	return cmd
}

// takeInstances names the workers of a process.
func takeInstances(c *engine.Config, instance string, parallelism int) (free func(), err error) {
	var slots []*engine.Slot
	free = func() {
		for _, s := range slots {
			_ = s.Free() // the lock ends with the process in any case
		}
	}
	for i := range parallelism {
		if instance != "" {
			c.Instances = append(c.Instances, fmt.Sprintf("%s-%d", instance, i))
			continue
		}
		slot, err := engine.TakeSlot(node.SlotDir(), engine.Group(c.Program))
		if err != nil {
			free()
			return nil, err
		}
		slots = append(slots, slot)
		c.Instances = append(c.Instances, slot.Instance)
	}
	return free, nil
}

// compileFiles plans pipelines. An error of one says where it is, and shows the line.
func compileFiles(files []string) ([]*plan.Program, error) {
	var programs []*plan.Program
	names := make(map[string]string)
	for _, file := range files {
		text, p, err := compileFile(file)
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

// brokersOf are the brokers that the files name in properties.bootstrap.servers; none where they name none.
func brokersOf(programs []*plan.Program) ([]string, error) {
	var found string
	for _, p := range programs {
		for _, t := range p.Tables {
			if t.Brokers == "" || t.Brokers == found {
				continue
			}
			if found != "" {
				return nil, usage(fmt.Errorf("tables name the brokers %s and %s: a transaction is of one cluster; choose with --brokers", found, t.Brokers))
			}
			found = t.Brokers
		}
	}
	if found == "" {
		return nil, nil
	}
	return strings.Split(found, ","), nil
}
