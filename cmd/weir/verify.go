package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"weir/audit"
	"weir/node"
)

func newVerify() *cobra.Command {
	var (
		kafka kafkaFlags
		out   output
		acks  []string
		wait  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check from the outside that nothing was lost, doubled, torn or reordered",
		Long: `Reads the topics as any consumer would and works out anew what the flow should have made of them. It may
run while readings flow. Exits with 3 if anything is wrong.`,
		Example: `  weir verify
  weir verify -o json --acks acks.ndjson`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			return kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
				progress, done := verifyProgress(cmd)
				report, err := audit.Verify(ctx, audit.Config{
					Broker: at.Broker, Topic: node.SensorData, StatsTopic: node.DeviceStats, DLQTopic: node.DeadLetters,
					Group: node.StatsGroup, Acks: acks, Wait: wait, Progress: progress,
				})
				done()
				if err != nil {
					return err
				}
				if asJSON {
					err = writeJSON(cmd.OutOrStdout(), report)
				} else {
					err = report.WriteText(cmd.OutOrStdout())
				}
				if err == nil && !report.Clean() {
					return errCheck
				}
				return err
			})
		},
	}
	kafka.add(cmd)
	cmd.Flags().StringSliceVar(&acks, "acks", nil, "acknowledgement logs of producers (weir produce --ack-log)")
	cmd.Flags().DurationVar(&wait, "wait", 60*time.Second, "how long open transactions may take to end")
	out.add(cmd)
	return cmd
}

// verifyProgress shows on a terminal how far the check is.
func verifyProgress(cmd *cobra.Command) (progress func(done, total int64), end func()) {
	w := cmd.ErrOrStderr()
	if !isTerminal(w) {
		return nil, func() {}
	}
	last := time.Time{}
	return func(done, total int64) {
			if time.Since(last) < 200*time.Millisecond {
				return
			}
			last = time.Now()
			fmt.Fprintf(w, "\r\x1b[2Kchecked %s of %s records", count(done), count(total))
		}, func() {
			fmt.Fprint(w, "\r\x1b[2K")
		}
}
