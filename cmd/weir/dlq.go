package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/node"
)

func newDLQ() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "List dead letters, and replay them after a fix",
		Example: `  weir dlq list --pending
  weir dlq list --dlq per_minute.dlq
  weir dlq replay --reason "out of the range" --dry-run`,
	}
	cmd.AddCommand(newDLQList(), newDLQReplay())
	return cmd
}

type filterFlags struct {
	filter deadletter.Filter
	since  time.Duration
	dlq    string
	topic  siteFlags
}

func (f *filterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dlq, "dlq", "", "dead letter topic (default: that of the readings); a pipeline has NAME.dlq, and NAME.late for its late rows")
	cmd.Flags().StringVar(&f.topic.topic, "topic", "", "only dead letters of records from this topic; without --dlq, from the dead letter topic of these readings")
	cmd.Flags().StringVar(&f.filter.Reason, "reason", "", "only dead letters whose reason contains this text")
	cmd.Flags().DurationVar(&f.since, "since", 0, "only dead letters of this period up to now, such as 2h")
}

// get returns the dead letter topic and the filter.
func (f *filterFlags) get() (deadletter.Topics, deadletter.Filter, error) {
	if f.since > 0 {
		f.filter.Since = time.Now().Add(-f.since)
	}
	f.filter.Topic = f.topic.topic
	if f.dlq != "" {
		return deadletter.Topics{DLQ: f.dlq}, f.filter, nil
	}
	at, err := f.topic.site()
	return deadletter.Topics{DLQ: at.DeadLetters()}, f.filter, err
}

func newDLQList() *cobra.Command {
	var (
		kafka  kafkaFlags
		out    output
		filter filterFlags
		reg    registryFlags
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show dead letters with origin, reason and whether they were replayed",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			topics, chosen, err := filter.get()
			if err != nil {
				return err
			}
			return kafka.attached(cmd, func(ctx context.Context, log *slog.Logger, at *node.Attachment) error {
				show, done, err := reg.shown(ctx, log)
				if err != nil {
					return err
				}
				defer done()
				n := 0
				err = deadletter.List(ctx, at.Broker, topics, chosen, func(l deadletter.Entry) error {
					n++
					if asJSON {
						return writeJSON(cmd.OutOrStdout(), l)
					}
					l.Value = show(l.Value)
					return writeDeadLetter(cmd, l)
				})
				if err == nil && n == 0 && !asJSON {
					fmt.Fprintln(cmd.ErrOrStderr(), "no dead letters")
				}
				return err
			})
		},
	}
	kafka.add(cmd)
	filter.add(cmd)
	reg.add(cmd)
	cmd.Flags().BoolVar(&filter.filter.Pending, "pending", false, "only dead letters that were not replayed")
	out.add(cmd)
	return cmd
}

// shownBytes is the maximum number of bytes of a value to print.
const shownBytes = 120

func writeDeadLetter(cmd *cobra.Command, l deadletter.Entry) error {
	state := ""
	if l.Replayed {
		state = "  (replayed)"
	}
	from := fmt.Sprintf("%s %d:%d", l.Topic, l.OriginPartition, l.OriginOffset)
	if l.Source != "" {
		from = l.Source
	}
	value := textBytes(l.Value)
	if len(value) > shownBytes {
		value = value[:shownBytes] + "…"
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d:%d  %s  from %s  attempt %d%s\n    %s\n    %s\n",
		l.Partition, l.Offset, l.Time.UTC().Format(time.RFC3339), from, l.Attempt, state, l.Reason, value)
	return err
}

func newDLQReplay() *cobra.Command {
	var (
		kafka  kafkaFlags
		out    output
		filter filterFlags
		stop   stopFlag
		dry    bool
	)
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Send dead letters back to their topic, each at most once",
		Long: `Sends each selected dead letter back with its key, value and headers, to its original partition, and marks it as
replayed in the same transaction. A replayed dead letter is never sent again; if its record fails again, that creates a new
dead letter with a higher attempt count.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if err := stop.watch(cmd.Context(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			topics, chosen, err := filter.get()
			if err != nil {
				return err
			}
			return kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
				result, err := deadletter.Replay(ctx, at.Broker, deadletter.ReplayConfig{
					Topics: topics, Filter: chosen, DryRun: dry, StopTimeout: stop.limit(),
				})
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), result)
				}
				verb := "replayed"
				if dry {
					verb = "would replay"
				}
				w := cmd.OutOrStdout()
				fmt.Fprintf(w, "%s %s; %s replayed earlier\n", verb, plural(result.Replayed, "dead letter"), count(int64(result.Earlier)))
				for _, s := range result.Skipped {
					fmt.Fprintf(w, "skipped %d:%d: %s\n", s.Partition, s.Offset, s.Reason)
				}
				return nil
			})
		},
	}
	kafka.add(cmd)
	filter.add(cmd)
	stop.add(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "count dead letters without sending them")
	out.add(cmd)
	return cmd
}
