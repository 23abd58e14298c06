package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/stack"
)

func newKafka() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kafka",
		Short: "Run a development cluster of real Kafka on this machine",
		Example: `  weir kafka up --brokers 3
  weir kafka status
  weir kafka down`,
	}
	cmd.AddCommand(newKafkaUp(), newKafkaStatus(), newKafkaDown())
	return cmd
}

func kafkaDir(dataDir string) string { return filepath.Join(dataDir, "kafka") }

func newKafkaUp() *cobra.Command {
	var (
		o       stack.Options
		dataDir string
		out     output
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start brokers in KRaft mode, without Docker",
		Long: `Starts brokers as Java processes that run until weir kafka down. On first use, Kafka ` + stack.KafkaVersion + ` is downloaded from Maven Central
(54 MB; needs Maven and a JDK 17) and its checksums are verified. With three brokers, the replication factor is three, with
two replicas in sync. A later start uses the data of the first.`,
		Example: `  weir kafka up --brokers 3
  export WEIR_BROKERS=127.0.0.1:19092`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if have, err := stack.OpenKafka(kafkaDir(dataDir)); err == nil && !cmd.Flags().Changed("brokers") {
				o.Brokers = len(have.Brokers())
			}
			if o.Brokers < 1 || o.Brokers > 3 {
				return usage(fmt.Errorf("--brokers must be 1 to 3, got %d", o.Brokers))
			}
			o.Dir, o.Detached = kafkaDir(dataDir), true
			steps := newSteps(cmd.ErrOrStderr())
			steps.step("starting Kafka %s (downloading it first if needed)", stack.KafkaVersion)
			k, err := stack.StartKafka(cmd.Context(), o)
			steps.done()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"version": stack.KafkaVersion, "brokers": k.Brokers(), "dir": o.Dir, "processes": k.Running()})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Kafka %s is up, data and logs in %s. Other commands find it with:\n  export WEIR_BROKERS=%s\n",
				stack.KafkaVersion, o.Dir, strings.Join(k.Brokers(), ","))
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Brokers, "brokers", 1, "number of brokers, 1 to 3 (default: 1, or as before)")
	f.Lookup("brokers").Annotations = map[string][]string{ownFlag: {"elsewhere they are addresses"}}
	f.StringVar(&o.Heap, "heap", "", "heap of each broker (default 512m for one, 384m for more)")
	f.StringVar(&dataDir, "data-dir", ".weir", "directory for the cluster's data, in kafka/")
	f.IntVar(&o.Port, "port", 19092, "port of the first broker; ports in use are skipped")
	out.add(cmd)
	return cmd
}

func newKafkaStatus() *cobra.Command {
	return kafkaCommand("status", "Show which brokers are running; exits with 3 if one is not", func(cmd *cobra.Command, k *stack.Kafka, asJSON bool) (err error) {
		running := k.Running()
		if asJSON {
			err = writeJSON(cmd.OutOrStdout(), map[string]any{"version": stack.KafkaVersion, "brokers": k.Brokers(), "processes": running})
		} else {
			for _, address := range k.Brokers() {
				state := "down"
				if pid, ok := running[address]; ok {
					state = fmt.Sprintf("up, pid %d", pid)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", address, state)
			}
		}
		if err == nil && len(running) < len(k.Brokers()) {
			return errCheck
		}
		return err
	})
}

func newKafkaDown() *cobra.Command {
	return kafkaCommand("down", "Stop the brokers; data is kept", func(cmd *cobra.Command, k *stack.Kafka, asJSON bool) error {
		return stopped(cmd, asJSON, k.Running(), k.Stop(cmd.Context()))
	})
}

// kafkaCommand returns a command for the cluster that weir kafka up has created in --data-dir.
func kafkaCommand(use, short string, run func(cmd *cobra.Command, k *stack.Kafka, asJSON bool) error) *cobra.Command {
	var (
		dataDir string
		out     output
	)
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			k, err := stack.OpenKafka(kafkaDir(dataDir))
			if err != nil {
				return err
			}
			return run(cmd, k, asJSON)
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", ".weir", "directory for the cluster's data, in kafka/")
	out.add(cmd)
	return cmd
}
