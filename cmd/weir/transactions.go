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
		Short: "List open transactions, and end those that block readers",
		Example: `  weir transactions list
  weir transactions abort weir-produce-fleet-s42
  weir transactions abort --flink per_minute   # what a cancelled Flink job has left open`,
	}
	cmd.AddCommand(newTransactionsList(), newTransactionsAbort())
	return cmd
}

// connected calls fn with a client of the broker that the flags name.
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
		Short: "Show open transactions: whose, how old, what they block, how far readers are behind",
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
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "no transaction is open")
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

// openTransaction is an open transaction for programs.
type openTransaction struct {
	broker.Transaction
	FlinkJob string `json:"flink_job,omitempty"` // whose sink has opened it
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

// writeTransaction writes a line with the name in so many columns, and one for each partition.
func writeTransaction(w io.Writer, t *broker.Transaction, width int) {
	limit := "its coordinator aborts it after " + time.Duration(t.Timeout).String()
	if t.Hanging {
		limit = "no coordinator knows it: end it with weir transactions abort --producer-id " + fmt.Sprint(t.ProducerID)
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
		Short: "End an open transaction and fence its producer",
		Long: `Ends an open transaction: its records stay invisible, readers go on, and a producer that still lives is
fenced and must restart. Hanging transactions, which no coordinator knows, are named by --producer-id.

--flink NAME ends all that a job of weir flink deploy has left open. While the job runs, or is to be recovered, they hold results that its
next checkpoint commits: then it is refused.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ways := len(args)
			for _, flag := range []string{"producer-id", "flink"} {
				if cmd.Flags().Changed(flag) {
					ways++
				}
			}
			if ways != 1 {
				return usage(fmt.Errorf("name one transaction: by its transactional id, a hanging one by --producer-id, or all of a Flink job by --flink"))
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
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "aborted the transaction of producer %d epoch %d on %d partitions; readers go on\n",
					t.ProducerID, t.Epoch, len(t.Partitions))
				return err
			})
		},
	}
	kafka.add(cmd)
	cmd.Flags().Int64Var(&producer, "producer-id", 0, "producer id of a hanging transaction")
	cmd.Flags().StringVar(&job, "flink", "", "name of a pipeline on Flink that was stopped or cancelled")
	cmd.Flags().BoolVar(&force, "force", false, "with --flink: even if the job is deployed; its results since the last checkpoint are lost")
	out.add(cmd)
	return cmd
}

// abortOfFlink ends the transactions that a Flink job has left open.
func abortOfFlink(ctx context.Context, cmd *cobra.Command, kafka broker.Config, job string, force, asJSON bool) error {
	d, err := flink.FindDeployment(ctx, kafka, job)
	var none *flink.NotDeployedError
	if err != nil && !errors.As(err, &none) {
		return err
	}
	if d.Deployed() && !force {
		return fmt.Errorf("%s is deployed (%s): its open transactions hold results that the next checkpoint commits, or a recovery does; stop or cancel it first (weir flink)", job, d.State)
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
			return fmt.Errorf("%w (%d of %d were ended)", err, i, len(open))
		}
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), open)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "aborted %d transactions of the Flink job %s; readers go on\n", len(open), job)
	return err
}
