package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"weir/engine"
	"weir/node"
)

func newConsume() *cobra.Command {
	var (
		kafka    kafkaFlags
		out      output
		instance string
		interval time.Duration
		session  time.Duration
		timeout  time.Duration
		untilEnd bool
		length   time.Duration
	)
	cmd := &cobra.Command{
		Use:   "consume",
		Short: "Keep statistics of each sensor of each device, exactly once",
		Long: `Reads sensor_data_tx with read_committed, keeps count, min, max, mean and the last value of each sensor of
each device, and writes them to the compacted topic device_stats in the same transaction as its offsets.
Records that are no readings go to sensor_data_dlq in that transaction too. After a crash or a rebalance
the state comes back from device_stats. Several processes share the partitions.`,
		Example: `  weir consume
  weir consume --until-end        # process what is there, then stop
  weir consume --brokers kafka-1:9092 --instance edge-7`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			return kafka.attached(cmd, func(ctx context.Context, log *slog.Logger, at *node.Attachment) error {
				if err := node.ApplyDefaultTopics(ctx, at.Broker); err != nil {
					return err
				}
				if instance == "" {
					slot, err := engine.TakeSlot(node.SlotDir(), node.StatsGroup)
					if err != nil {
						return err
					}
					defer func() { _ = slot.Free() }() // the lock ends with the process in any case
					instance = slot.Instance
				}
				run := ctx
				if length > 0 {
					var cancel context.CancelFunc
					run, cancel = context.WithTimeout(ctx, length)
					defer cancel()
				}
				ticker := newTicker(cmd.ErrOrStderr(), "processed", at.Where())
				result, err := engine.RunLoop(run, node.StatsConfig(engine.LoopConfig{
					Broker: at.Broker, Instance: instance, CommitInterval: interval,
					SessionTimeout: session, TransactionTimeout: timeout, UntilEnd: untilEnd, Logger: log,
					OnCommit: func(c engine.Commit) { ticker.add(c.Records, c.DeadLetters) },
				}), &engine.DeviceStats{Topic: node.DeviceStats})
				ticker.stop()
				if err != nil {
					return err
				}
				if asJSON {
					if err := writeJSON(cmd.OutOrStdout(), result); err != nil {
						return err
					}
				} else {
					fmt.Fprintf(cmd.OutOrStdout(), "processed %s records in %s transactions, %s dead letters, %s aborted\n",
						count(result.Records), count(result.Transactions), count(result.DeadLetters), count(result.Aborted))
				}
				if untilEnd && ctx.Err() != nil {
					return errInterrupted
				}
				return nil
			})
		},
	}
	kafka.add(cmd)
	f := cmd.Flags()
	f.StringVar(&instance, "instance", "", "name of this process in its transactional id, stable over restarts (default: host name and a free number)")
	f.DurationVar(&interval, "commit-interval", 100*time.Millisecond, "length of a transaction")
	f.DurationVar(&session, "session-timeout", 10*time.Second, "after which the group gives a dead process's partitions away")
	f.DurationVar(&timeout, "transaction-timeout", 15*time.Second, "after which the broker aborts a dead process's transaction")
	f.BoolVar(&untilEnd, "until-end", false, "stop when all that was there at the start is processed")
	f.DurationVar(&length, "for", 0, "stop by itself after this time")
	out.add(cmd)
	return cmd
}
