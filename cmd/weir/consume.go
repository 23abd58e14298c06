package main

import (
	"github.com/spf13/cobra"

	"weir.example/weir/internal/node"
	"weir.example/weir/internal/plan"
)

func newConsume() *cobra.Command {
	flags := runFlags{makeTopics: true}
	var readings formatFlags
	cmd := &cobra.Command{
		Use:   "consume",
		Short: "Keep statistics of each sensor of each device, exactly once",
		Long: `Reads sensor_data_tx with read_committed, keeps count, min, max, mean and the last value of each sensor of
each device, and writes them to the compacted topic device_stats in the same transaction as its offsets.
Records that are no readings go to sensor_data_dlq in that transaction too. After a crash or a rebalance
the state comes back. Several processes share the partitions.

It is weir run of the pipeline device_stats, which comes with Weir: weir explain device_stats shows it.`,
		Example: `  weir consume
  weir consume --until-end        # process what is there, then stop
  weir consume --brokers kafka-1:9092 --instance edge-7 --parallelism 2`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := readings.validate(false); err != nil {
				return err
			}
			at, err := flags.topic.site()
			if err != nil {
				return err
			}
			program, err := node.CompileDeviceStats(at, readings.format, readings.registry.config)
			if err != nil {
				return err
			}
			return flags.run(cmd, []*plan.Program{program}, at)
		},
	}
	flags.add(cmd)
	flags.topic.add(cmd, siteScope)
	readings.add(cmd)
	return cmd
}
