package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/broker"
	"weir/node"
)

func newTransactions() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "transactions",
		Short: "List open transactions, and end those that block readers",
		Example: `  weir transactions list
  weir transactions abort weir-produce-fleet-s42`,
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
					if open == nil {
						open = []broker.Transaction{}
					}
					return writeJSON(cmd.OutOrStdout(), open)
				}
				if len(open) == 0 {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "no transaction is open")
					return err
				}
				for i := range open {
					writeTransaction(cmd.OutOrStdout(), &open[i])
				}
				return nil
			})
		},
	}
	kafka.add(cmd)
	out.add(cmd)
	return cmd
}

func writeTransaction(w io.Writer, t *broker.Transaction) {
	name := t.TransactionalID
	limit := "its coordinator aborts it after " + time.Duration(t.Timeout).String()
	if t.Hanging {
		name = "(hanging)"
		limit = "no coordinator knows it: end it with weir transactions abort --producer-id " + fmt.Sprint(t.ProducerID)
	}
	fmt.Fprintf(w, "%s  %s  producer %d epoch %d  open for %s, %s\n", name, t.State, t.ProducerID, t.Epoch,
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
	)
	cmd := &cobra.Command{
		Use:   "abort [TRANSACTIONAL-ID]",
		Short: "End an open transaction and fence its producer",
		Long: `Ends an open transaction: its records stay invisible, readers go on, and a producer that still lives is
fenced and must start anew. Hanging transactions, which no coordinator knows, are named by --producer-id.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == cmd.Flags().Changed("producer-id") {
				return usage(fmt.Errorf("name one transaction: by its transactional id, or a hanging one by --producer-id"))
			}
			asJSON, err := out.json()
			if err != nil {
				return err
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
	out.add(cmd)
	return cmd
}
