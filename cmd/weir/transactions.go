package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/flink"
	"weir.example/weir/internal/node"
)

func newTransactions() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "transactions",
		Short: "List open transactions, and abort those that block readers",
		Example: `  weir transactions list
  weir transactions abort weir-produce-fleet-s42
  weir transactions abort --flink per_minute   # transactions left open by a cancelled Flink job`,
	}
	cmd.AddCommand(newTransactionsList(), newTransactionsAbort())
	return cmd
}

// connected calls fn with a client of the selected broker.
func connected(cmd *cobra.Command, kafka *kafkaFlags, fn func(context.Context, *kgo.Client) error) error {
	return kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
		client, err := broker.Connect(ctx, at.Broker)
		if err != nil {
			return err
		}
		defer client.Close()
		return fn(ctx, client)
	})
}

func newTransactionsList() *cobra.Command {
	var (
		kafka kafkaFlags
		out   output
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show open transactions with owner, age, blocked partitions and readers' lag",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			return connected(cmd, &kafka, func(ctx context.Context, client *kgo.Client) error {
				open, err := broker.ListTransactions(ctx, client, time.Now())
				if err != nil {
					return err
				}
				if asJSON {
					listed := []openTransaction{}
					for _, t := range open {
						job, _ := flink.JobOfTransaction(t.TransactionalID)
						listed = append(listed, openTransaction{t, job})
					}
					return writeJSON(cmd.OutOrStdout(), listed)
				}
				if len(open) == 0 {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "no open transactions")
					return err
				}
				width := 0
				for i := range open {
					width = max(width, len(transactionName(&open[i])))
				}
				for i := range open {
					writeTransaction(cmd.OutOrStdout(), &open[i], width)
				}
				return nil
			})
		},
	}
	kafka.add(cmd)
	out.add(cmd)
	return cmd
}

// openTransaction is the JSON output of an open transaction.
type openTransaction struct {
	broker.Transaction
	FlinkJob string `json:"flink_job,omitempty"` // the job that opened it
}

func transactionName(t *broker.Transaction) string {
	if t.Hanging {
		return "(hanging)"
	}
	if job, ok := flink.JobOfTransaction(t.TransactionalID); ok {
		return t.TransactionalID + "  (of the Flink job " + job + ")"
	}
	return t.TransactionalID
}

// writeTransaction prints a line with the name padded to width, then one line per partition.
func writeTransaction(w io.Writer, t *broker.Transaction, width int) {
	limit := "aborted by its coordinator after " + time.Duration(t.Timeout).String()
	if t.Hanging {
		limit = "unknown to its coordinator: abort it with weir transactions abort --producer-id " + fmt.Sprint(t.ProducerID)
	}
	fmt.Fprintf(w, "%-*s  %s  producer %d epoch %d  open for %s, %s\n", width, transactionName(t), t.State, t.ProducerID, t.Epoch,
		time.Duration(t.Age).Round(time.Millisecond), limit)
	for _, p := range t.Partitions {
		fmt.Fprintf(w, "    %s-%d from offset %d: readers wait at %d, %s behind the end at %d\n",
			p.Topic, p.Partition, p.FirstOffset, p.LastStable, count(p.Behind), p.HighWatermark)
	}
}

func newTransactionsAbort() *cobra.Command {
	var (
		kafka    kafkaFlags
		out      output
		producer int64
		job      string
		force    bool
	)
	cmd := &cobra.Command{
		Use:   "abort [TRANSACTIONAL-ID]",
		Short: "Abort an open transaction and fence its producer",
		Long: `Aborts an open transaction: its records stay invisible, readers continue, and a producer that is still alive is
fenced and must restart. Select hanging transactions, which no coordinator knows, with --producer-id.

--flink NAME aborts all transactions left open by a job of weir flink deploy. This is refused while the job is deployed, because its next
checkpoint or a recovery would commit them.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			selectors := len(args)
			for _, flag := range []string{"producer-id", "flink"} {
				if cmd.Flags().Changed(flag) {
					selectors++
				}
			}
			if selectors != 1 {
				return usage(fmt.Errorf("select a transaction by its transactional id, a hanging one with --producer-id, or all of a Flink job with --flink"))
			}
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if job != "" {
				return kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
					return abortOfFlink(ctx, cmd, at.Broker, job, force, asJSON)
				})
			}
			return connected(cmd, &kafka, func(ctx context.Context, client *kgo.Client) error {
				var t broker.Transaction
				var err error
				if len(args) == 1 {
					t, err = broker.AbortTransaction(ctx, client, args[0])
				} else {
					t, err = broker.AbortHanging(ctx, client, producer)
				}
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), t)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "aborted the transaction of producer %d epoch %d on %s; readers continue\n",
					t.ProducerID, t.Epoch, plural(len(t.Partitions), "partition"))
				return err
			})
		},
	}
	kafka.add(cmd)
	cmd.Flags().Int64Var(&producer, "producer-id", 0, "producer id of a hanging transaction")
	cmd.Flags().StringVar(&job, "flink", "", "name of a pipeline on Flink that was stopped or cancelled")
	cmd.Flags().BoolVar(&force, "force", false, "with --flink: abort even if the job is deployed; its results since the last checkpoint are lost")
	out.add(cmd)
	return cmd
}

// abortOfFlink aborts the open transactions of a Flink job.
func abortOfFlink(ctx context.Context, cmd *cobra.Command, kafka broker.Config, job string, force, asJSON bool) error {
	d, err := flink.FindDeployment(ctx, kafka, job)
	var none *flink.NotDeployedError
	if err != nil && !errors.As(err, &none) {
		return err
	}
	if d.Deployed() && !force {
		return fmt.Errorf("%s is deployed (%s), and its next checkpoint or a recovery would commit its open transactions: stop or cancel it first (weir flink)", job, d.State)
	}
	client, err := broker.Connect(ctx, kafka)
	if err != nil {
		return err
	}
	defer client.Close()
	open, err := openOf(ctx, client, job)
	if err != nil {
		return err
	}
	for i := range open {
		if _, err := broker.AbortTransaction(ctx, client, open[i].TransactionalID); err != nil {
			return fmt.Errorf("%w (%d of %d were aborted)", err, i, len(open))
		}
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), open)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "aborted %s of the Flink job %s; readers continue\n", plural(len(open), "transaction"), job)
	return err
}
