package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/monitor"
	"weir.example/weir/internal/node"
)

func newMonitor() *cobra.Command {
	var (
		kafka  kafkaFlags
		admins adminFlags
		out    output
		every  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "monitor",
		Short: "Monitor Kafka: brokers, unhealthy partitions, lag of all groups, transactions that block readers",
		Long: `Shows the cluster as its clients see it. With --admin-listen, serves the same as metrics for Prometheus until Ctrl-C; the
alerts are in deploy/prometheus.`,
		Example: `  weir monitor
  weir monitor -o json | jq '.groups[] | select(.topics[].lag > 0)'
  weir monitor --brokers kafka-1:9092 --admin-listen 127.0.0.1:9601`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if every < time.Second {
				return usage(fmt.Errorf("--every must be at least 1s, got %s", every))
			}
			err = kafka.attached(cmd, func(ctx context.Context, log *slog.Logger, at *node.Attachment) error {
				client, err := broker.Connect(ctx, at.Broker)
				if err != nil {
					return err
				}
				defer client.Close()
				m := monitor.New(client)
				if admins.listen == "" {
					view, err := m.Snapshot(ctx)
					if err != nil {
						return err
					}
					if asJSON {
						return writeJSON(cmd.OutOrStdout(), view)
					}
					return writeCluster(cmd.OutOrStdout(), &view)
				}
				admin, err := admins.admin(ctx, at, log)
				if err != nil {
					return err
				}
				defer admin.Close()
				if err := at.Observe(admin.Registry); err != nil {
					return err
				}
				admin.Broker(at.Broker)
				admin.Registry.MustRegister(m)
				admins.printAddress()
				m.Run(ctx, every, log)
				return nil
			})
			if admins.listen == "" {
				return err
			}
			return untilStopped(cmd.Context(), err)
		},
	}
	kafka.add(cmd)
	admins.add(cmd, "")
	cmd.Flags().DurationVar(&every, "every", 10*time.Second, "with --admin-listen: interval of the observations")
	out.add(cmd)
	return cmd
}

// writeCluster prints problems first, then the lag of groups.
func writeCluster(w io.Writer, v *monitor.Snapshot) error {
	partitions, under, offline := 0, 0, 0
	for _, t := range v.Topics {
		partitions += t.Partitions
		under += t.UnderReplicated
		offline += t.Offline
	}
	writeBrokers(w, v)
	fmt.Fprintf(w, "partitions    %d of %d topics, %d under-replicated, %d offline\n", partitions, len(v.Topics), under, offline)
	writeTrouble(w, v.Topics)
	hanging := 0
	for i := range v.Transactions {
		if v.Transactions[i].Hanging {
			hanging++
		}
	}
	if v.Transactions != nil {
		fmt.Fprintf(w, "transactions  %d open, %d hanging", len(v.Transactions), hanging)
		if len(v.Transactions) > 0 {
			fmt.Fprintf(w, ", the oldest for %s: weir transactions list", time.Duration(v.Transactions[0].Age).Round(time.Millisecond))
		}
		fmt.Fprintln(w)
	}
	for _, gap := range v.Gaps {
		fmt.Fprintf(w, "unknown       %s\n", gap)
	}
	if len(v.Groups) == 0 && len(v.Gaps) > 0 {
		return nil
	}
	if len(v.Groups) == 0 {
		_, err := fmt.Fprintln(w, "groups        none")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nGROUP\tSTATE\tMEMBERS\tTOPIC\tLAG")
	for _, g := range v.Groups {
		if len(g.Topics) == 0 {
			fmt.Fprintf(table, "%s\t%s\t%d\t\t\n", g.Name, g.State, g.Members)
		}
		for _, t := range g.Topics {
			fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", g.Name, g.State, g.Members, t.Topic, count(t.Lag))
		}
	}
	return table.Flush()
}

// writeBrokers prints the brokers that respond on one line, and each of the others on its own line.
func writeBrokers(w io.Writer, v *monitor.Snapshot) {
	fmt.Fprintf(w, "brokers       %d", v.Up())
	if up := v.Up(); up < len(v.Brokers) {
		fmt.Fprintf(w, " of %d", len(v.Brokers))
	}
	for _, b := range v.Brokers {
		if b.Up {
			fmt.Fprintf(w, "  %d at %s", b.ID, b.Addr)
		}
	}
	fmt.Fprintln(w)
	for _, b := range v.Brokers {
		switch {
		case b.Up:
		case b.Addr == "":
			fmt.Fprintf(w, "              %d is gone but still has replicas\n", b.ID)
		default:
			fmt.Fprintf(w, "              %d at %s does not answer\n", b.ID, b.Addr)
		}
	}
}

// troubled is the maximum number of unhealthy topics to list.
const troubled = 10

// writeTrouble lists the unhealthy topics, those without leaders first.
func writeTrouble(w io.Writer, topics []monitor.Topic) {
	topics = slices.DeleteFunc(slices.Clone(topics), func(t monitor.Topic) bool { return t.UnderReplicated+t.Offline == 0 })
	slices.SortStableFunc(topics, func(a, b monitor.Topic) int { return cmp.Compare(b.Offline, a.Offline) })
	for i, t := range topics {
		if i == troubled {
			fmt.Fprintf(w, "              and %d more topics: see -o json\n", len(topics)-troubled)
			return
		}
		fmt.Fprintf(w, "              %s: %d of %d under-replicated, %d offline\n", t.Name, t.UnderReplicated, t.Partitions, t.Offline)
	}
}
