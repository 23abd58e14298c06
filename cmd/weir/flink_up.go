package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/stack"
)

func flinkDir(dataDir string) string { return filepath.Join(dataDir, "flink") }

func newFlinkUp() *cobra.Command {
	var (
		o       stack.FlinkOptions
		dataDir string
		out     output
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a development cluster on this machine, without Docker",
		Long: `Starts a JobManager, TaskManagers and an SQL Gateway as Java processes that run until weir flink down. On first use,
Flink ` + stack.FlinkVersion + ` is downloaded from package registries (350 MB; needs pip3, Maven and a JDK 17) and its checksums are verified. It
includes the Kafka connector, the formats with a schema registry, RocksDB and a Prometheus reporter; checkpoints and
savepoints are in --data-dir.`,
		Example: `  weir flink up
  weir flink up --taskmanagers 2 --slots 4
  weir flink down`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if o.TaskManagers < 0 || o.Slots < 0 || o.Memory != 0 && o.Memory < 128 {
				return usage(errors.New("at least one TaskManager, one slot and 128 MiB are needed"))
			}
			o.Dir, o.Detached = flinkDir(dataDir), true
			steps := newSteps(cmd.ErrOrStderr())
			steps.step("starting Flink %s (downloading it first if needed)", stack.FlinkVersion)
			f, err := stack.StartFlink(cmd.Context(), o)
			steps.done()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]any{
					"version": stack.FlinkVersion, "jobmanager": f.RestURL(), "gateway": f.GatewayURL(), "metrics": f.MetricsAddresses(), "dir": f.Dir(), "processes": f.Running(),
				})
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "Flink %s is up, with %d slots\n", stack.FlinkVersion, f.TaskManagers*f.Slots)
			fmt.Fprintf(w, "  JobManager   %s  (web page with the jobs)\n  SQL Gateway  %s\n  data, logs   %s\n", f.RestURL(), f.GatewayURL(), f.Dir())
			if f.RestURL() != "http://127.0.0.1:8081" || f.GatewayURL() != "http://127.0.0.1:8083" {
				fmt.Fprintf(w, "Other commands find it with:\n  export WEIR_JOBMANAGER=%s WEIR_GATEWAY=%s\n", f.RestURL(), f.GatewayURL())
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&dataDir, "data-dir", ".weir", "directory for the cluster's data, in flink/")
	f.IntVar(&o.TaskManagers, "taskmanagers", 0, "number of TaskManagers (default 1, or as before)")
	f.IntVar(&o.Slots, "slots", 0, "slots of each TaskManager (default 2, or as before)")
	f.IntVar(&o.Memory, "memory", 0, "heap for the tasks of each TaskManager, MiB (default 512, or as before)")
	f.IntVar(&o.Port, "port", 8081, "port of the JobManager; the SQL Gateway uses the port two higher; ports in use are skipped")
	out.add(cmd)
	return cmd
}

func newFlinkDown() *cobra.Command {
	var (
		dataDir string
		out     output
	)
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the development cluster; checkpoints and savepoints are kept",
		Long: `Stops the processes of the cluster, and running jobs with them: after the next weir flink up, weir flink recover NAME resumes from
the last checkpoint. Run weir flink stop first for a savepoint and no open transactions.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			f, err := stack.OpenFlink(flinkDir(dataDir))
			if err != nil {
				return err
			}
			return stopped(cmd, asJSON, f.Running(), f.Stop(cmd.Context()))
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", ".weir", "directory for the cluster's data, in flink/")
	out.add(cmd)
	return cmd
}

// stopped reports the processes that were stopped.
func stopped(cmd *cobra.Command, asJSON bool, ran map[string]int, err error) error {
	if err != nil {
		return err
	}
	names := sortedKeys(ran)
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"stopped": names})
	}
	if len(names) == 0 {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "nothing was running")
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "stopped %s\n", strings.Join(names, ", "))
	return err
}

// localFlink returns the running processes of the cluster in a data directory.
func localFlink(dataDir string) (map[string]int, error) {
	f, err := stack.OpenFlink(flinkDir(dataDir))
	if errors.Is(err, stack.ErrNoCluster) {
		return map[string]int{}, nil
	}
	if err != nil {
		return nil, err
	}
	return f.Running(), nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
