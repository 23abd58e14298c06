package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/node"
)

func newTopics() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "Diff declared topics against the cluster, and apply changes",
		Example: `  weir topics show > topics.yaml
  weir topics plan --file topics.yaml --brokers kafka-1:9092
  weir topics apply --file topics.yaml --brokers kafka-1:9092`,
	}
	cmd.AddCommand(newTopicsShow(), newTopicsPlan(), newTopicsApply())
	return cmd
}

func newTopicsShow() *cobra.Command {
	var topic siteFlags
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the declaration of Weir's own topics",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := topic.site()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(at.TopicsYAML())
			return err
		},
	}
	topic.add(cmd, siteScope)
	return cmd
}

// planned calls fn with the changes that the declared topics require.
func planned(cmd *cobra.Command, kafka *kafkaFlags, topic *siteFlags, file string, fn func(context.Context, *kadm.Client, *broker.TopicPlan) error) error {
	at, err := topic.site()
	if err != nil {
		return err
	}
	topics := at.Topics()
	if file != "" {
		data, err := os.ReadFile(file) //nolint:gosec // chosen by the user
		if err != nil {
			return fmt.Errorf("read topics: %w", err)
		}
		if topics, err = broker.ParseTopics(data, file); err != nil {
			return err
		}
	}
	return kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
		client, err := broker.Connect(ctx, at.Broker)
		if err != nil {
			return err
		}
		defer client.Close()
		admin := kadm.NewClient(client)
		plan, err := broker.PlanTopics(ctx, admin, topics)
		if err != nil {
			return err
		}
		return fn(ctx, admin, plan)
	})
}

func newTopicsPlan() *cobra.Command {
	var (
		kafka kafkaFlags
		topic siteFlags
		out   output
		file  string
	)
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would change",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			return planned(cmd, &kafka, &topic, file, func(_ context.Context, _ *kadm.Client, plan *broker.TopicPlan) error {
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), plan)
				}
				return plan.WriteText(cmd.OutOrStdout())
			})
		},
	}
	kafka.add(cmd)
	topic.add(cmd, "without --file, the topics of these readings are used")
	cmd.Flags().StringVar(&file, "file", "", "file in YAML that declares the topics (default: Weir's own, see weir topics show)")
	out.add(cmd)
	return cmd
}

func newTopicsApply() *cobra.Command {
	var (
		kafka kafkaFlags
		topic siteFlags
		out   output
		file  string
		force bool
	)
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Create and change topics as declared; never drops data without --force",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			kafka.create = true
			return planned(cmd, &kafka, &topic, file, func(ctx context.Context, admin *kadm.Client, plan *broker.TopicPlan) error {
				if err := plan.Apply(ctx, admin, force); err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), plan)
				}
				if plan.Empty() {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing to do: all topics are as declared")
					return err
				}
				return plan.WriteText(cmd.OutOrStdout())
			})
		},
	}
	kafka.add(cmd)
	topic.add(cmd, "without --file, the topics of these readings are used")
	cmd.Flags().StringVar(&file, "file", "", "file in YAML that declares the topics (default: Weir's own, see weir topics show)")
	cmd.Flags().BoolVar(&force, "force", false, "allow changes that drop data or move keys")
	out.add(cmd)
	return cmd
}
