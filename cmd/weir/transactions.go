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
  weir transactions commit --producer-id 2002  # one that was committed, but not on all of its partitions
  weir transactions abort --flink per_minute   # transactions left open by a cancelled Flink job`,
	}
	cmd.AddCommand(newTransactionsList(), newTransactionsAbort(), newTransactionsCommit())
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
		Long: `Shows open transactions with owner, age, blocked partitions and readers' lag. A transaction is hanging where its records are open in
a partition, but no coordinator knows that, so that no timeout will end it (KIP-664). For these, the logs of the producer's other
partitions and of its coordinator are searched for how the transaction ended, and the command is named that ends it in the same way. Weir
finishes its own, if it has the permission Alter on the cluster.

Offsets of consumer groups are a topic, too: it is read with the permission Read on __consumer_offsets. Topics that could not be checked
are named on stderr.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			return connected(cmd, &kafka, func(ctx context.Context, client *kgo.Client) error {
				all, err := broker.ListTransactions(ctx, client, time.Now())
				if err != nil {
					return err
				}
				open := all.Open
				for _, u := range all.Unchecked {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s was not checked: %s\n", u.Topic, u.Reason)
				}
				for i := range open {
					if open[i].Hanging {
						if open[i].Evidence, err = broker.Investigate(ctx, client, &open[i]); err != nil {
							return err
						}
					}
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
					text := "no open transactions"
					if len(all.Unchecked) > 0 {
						text += " in the topics that were checked"
					}
					_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
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
		limit = "and no coordinator will end it"
	}
	fmt.Fprintf(w, "%-*s  %s  producer %d epoch %d  open for %s, %s\n", width, transactionName(t), t.State, t.ProducerID, t.Epoch,
		time.Duration(t.Age).Round(time.Millisecond), limit)
	for _, p := range t.Partitions {
		fmt.Fprintf(w, "    %s-%d from offset %d: readers wait at %d, %s behind the end at %d\n",
			p.Topic, p.Partition, p.FirstOffset, p.LastStable, count(p.Behind), p.HighWatermark)
	}
	if t.Evidence != nil {
		fmt.Fprintf(w, "    elsewhere: %s (%s)\n", t.Evidence.Outcome, t.Evidence)
		if command := t.Command(); command != "" {
			fmt.Fprintf(w, "    to finish it: %s\n", command)
		}
	}
}

// hangingFlags select a hanging transaction.
type hangingFlags struct {
	id  broker.HangingID
	dry bool
}

func (h *hangingFlags) add(cmd *cobra.Command) {
	cmd.Flags().Int64Var(&h.id.ProducerID, "producer-id", 0, "producer id of a hanging transaction")
	cmd.Flags().Int16Var(&h.id.Epoch, "producer-epoch", -1, "its epoch, if the producer has several hanging ones; -1: it has one")
	cmd.Flags().BoolVar(&h.dry, "dry-run", false, "with --producer-id: show the transaction, and what is known about its end, without writing markers")
}

// writeEnded prints what was done, or with --dry-run would be.
func (h *hangingFlags) writeEnded(w io.Writer, t *broker.Transaction, verb string, asJSON bool) error {
	if asJSON {
		return writeJSON(w, t)
	}
	text, end := verb, "; readers continue"
	if h.dry {
		text, end = "would have "+verb, ""
	}
	_, err := fmt.Fprintf(w, "%s the transaction of producer %d epoch %d on %s%s\n", text, t.ProducerID, t.Epoch, plural(len(t.Partitions), "partition"), end)
	if err == nil && t.Evidence != nil {
		_, err = fmt.Fprintf(w, "elsewhere: %s (%s)\n", t.Evidence.Outcome, t.Evidence)
	}
	return err
}

func newTransactionsCommit() *cobra.Command {
	var (
		kafka   kafkaFlags
		out     output
		hanging hangingFlags
	)
	cmd := &cobra.Command{
		Use:   "commit --producer-id ID",
		Short: "Finish a hanging transaction that was committed on its other partitions",
		Long: `Writes the commit markers that a transaction has missed: its records become visible, offsets of groups that it committed take effect, and
readers continue. This is refused unless a marker in another partition, or the state of the coordinator, proves that the very transaction
was committed. That proof needs transaction.version 2, where each transaction has an epoch of its own.

It needs the permissions Read on the topics and Alter on the cluster.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("producer-id") {
				return usage(errors.New("select a hanging transaction with --producer-id: weir transactions list shows it"))
			}
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			return connected(cmd, &kafka, func(ctx context.Context, client *kgo.Client) error {
				var t broker.Transaction
				var err error
				if !hanging.dry {
					t, err = broker.CommitHanging(ctx, client, hanging.id)
				} else if t, err = broker.FindHanging(ctx, client, hanging.id); err == nil && t.Evidence.Outcome != broker.Committed {
					err = &broker.HangingError{Transaction: t, Commit: true}
				}
				if err != nil {
					return err
				}
				return hanging.writeEnded(cmd.OutOrStdout(), &t, "committed", asJSON)
			})
		},
	}
	kafka.add(cmd)
	hanging.add(cmd)
	out.add(cmd)
	return cmd
}

func newTransactionsAbort() *cobra.Command {
	var (
		kafka   kafkaFlags
		out     output
		hanging hangingFlags
		job     string
		force   bool
	)
	cmd := &cobra.Command{
		Use:   "abort [TRANSACTIONAL-ID]",
		Short: "Abort an open transaction and fence its producer",
		Long: `Aborts an open transaction: its records stay invisible, readers continue, and a producer that is still alive is
fenced and must restart.

Select hanging transactions, which no coordinator knows, with --producer-id. Their other partitions are searched for how they ended there:
if the transaction was committed there, an abort would undo a part of it and is refused, and weir transactions commit finishes it. If
nothing shows how it ended, the abort needs --force.

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
			if hanging.dry && !cmd.Flags().Changed("producer-id") {
				return usage(errors.New("--dry-run needs --producer-id: weir transactions list shows the others"))
			}
			if force && len(args) == 1 {
				return usage(errors.New("--force is for --producer-id and --flink"))
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
				switch {
				case len(args) == 1:
					t, err = broker.AbortTransaction(ctx, client, args[0])
				case !hanging.dry:
					t, err = broker.AbortHanging(ctx, client, hanging.id, force)
				default:
					if t, err = broker.FindHanging(ctx, client, hanging.id); err == nil && !t.MayAbort(force) {
						err = &broker.HangingError{Transaction: t}
					}
				}
				if err != nil {
					return err
				}
				return hanging.writeEnded(cmd.OutOrStdout(), &t, "aborted", asJSON)
			})
		},
	}
	kafka.add(cmd)
	hanging.add(cmd)
	cmd.Flags().StringVar(&job, "flink", "", "name of a pipeline on Flink that was stopped or cancelled")
	cmd.Flags().BoolVar(&force, "force", false, "with --flink: abort even if the job is deployed; its results since the last checkpoint are lost. With --producer-id: abort although nothing shows how the transaction ended elsewhere")
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
