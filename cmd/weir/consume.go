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
		Short: "Maintain statistics per device and sensor, exactly once",
		Long: `Reads sensor_data_tx with read_committed, maintains count, min, max, mean and last value per device and sensor, and
writes them to the compacted topic device_stats in the same transaction as its offsets. Invalid records go to
sensor_data_dlq, also in that transaction. State is restored after a crash or a rebalance. Several processes share
the partitions.

This runs the bundled pipeline device_stats: weir explain device_stats shows it.`,
		Example: `  weir consume
  weir consume --until-end        # process existing records, then stop
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
