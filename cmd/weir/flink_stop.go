package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/flink"
)

func newFlinkSavepoint() *cobra.Command {
	var (
		f   flinkFlags
		dir string
	)
	cmd := &cobra.Command{
		Use:     "savepoint NAME",
		Short:   "Write a savepoint without stopping the pipeline",
		Example: `  weir flink savepoint per_minute --to s3://savepoints`,
		Args:    oneArg("pipeline"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.manager(cmd, func(ctx context.Context, m *flink.Manager, asJSON bool) error {
				if err := withBrokers(m); err != nil {
					return err
				}
				path, err := m.Savepoint(ctx, args[0], dir)
				if err != nil {
					return err
				}
				return writeSavepoint(cmd, args[0], path, "is still running", asJSON)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&dir, "to", "", "address (URL) of the savepoint directory (default: that of the cluster)")
	return cmd
}

func writeSavepoint(cmd *cobra.Command, name, path, state string, asJSON bool) error {
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), map[string]string{"name": name, "savepoint": path})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s; its savepoint is %s\n", name, state, path)
	return err
}

func newFlinkStop() *cobra.Command {
	var (
		f     flinkFlags
		dir   string
		drain bool
	)
	cmd := &cobra.Command{
		Use:   "stop NAME",
		Short: "Stop a pipeline with a savepoint, committing everything that it has written",
		Example: `  weir flink stop per_minute                # weir flink deploy --from-savepoint resumes
  weir flink stop per_minute --drain        # permanently: closes all windows first`,
		Args: oneArg("pipeline"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.manager(cmd, func(ctx context.Context, m *flink.Manager, asJSON bool) error {
				if err := withBrokers(m); err != nil {
					return err
				}
				path, err := m.Stop(ctx, args[0], dir, drain)
				if err != nil {
					return err
				}
				return writeSavepoint(cmd, args[0], path, "is stopped", asJSON)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&dir, "to", "", "address (URL) of the savepoint directory (default: that of the cluster)")
	cmd.Flags().BoolVar(&drain, "drain", false, "close all windows and emit their results; the pipeline must not be resumed from this savepoint")
	return cmd
}

// cancelReport is the JSON output of weir flink cancel.
type cancelReport struct {
	Name  string               `json:"name"`
	JobID string               `json:"job_id"`
	Open  []broker.Transaction `json:"open_transactions"`
}

func newFlinkCancel() *cobra.Command {
	var f flinkFlags
	cmd := &cobra.Command{
		Use:   "cancel NAME",
		Short: "Cancel a pipeline without a savepoint, or give up a lost one",
		Long: `Prefer weir flink stop. What a cancelled job has written since its last checkpoint is not committed; its transactions
stay open and block readers until they time out or weir transactions abort ends them. Its last checkpoint is kept:
weir flink recover resumes from it.`,
		Args: oneArg("pipeline"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.manager(cmd, func(ctx context.Context, m *flink.Manager, asJSON bool) error {
				if err := withBrokers(m); err != nil {
					return err
				}
				d, err := m.Cancel(ctx, args[0])
				if err != nil {
					return err
				}
				open, err := transactionsOf(ctx, m.Env.Kafka, d.Name)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), cancelReport{d.Name, d.JobID, open})
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is cancelled\n", d.Name)
				if len(open) > 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s still open, blocking readers: weir transactions abort --flink %s ends them\n", plural(len(open), "transaction"), d.Name)
				}
				return nil
			})
		},
	}
	f.add(cmd)
	return cmd
}

// transactionsOf lists the open transactions of a Flink job's sinks.
func transactionsOf(ctx context.Context, kafka broker.Config, job string) ([]broker.Transaction, error) {
	client, err := broker.Connect(ctx, kafka)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return openOf(ctx, client, job)
}

func openOf(ctx context.Context, client *kgo.Client, job string) ([]broker.Transaction, error) {
	all, err := broker.ListTransactions(ctx, client, time.Now())
	if err != nil {
		return nil, err
	}
	of := []broker.Transaction{}
	for _, t := range all.Open {
		if name, ok := flink.JobOfTransaction(t.TransactionalID); ok && name == job {
			of = append(of, t)
		}
	}
	return of, nil
}
