package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/flink"
	"weir.example/weir/internal/sql"
)

func newFlink() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "flink",
		Short: "Run pipelines on an Apache Flink cluster",
		Long: `When a pipeline outgrows one binary, the same file runs on Flink: exactly once, with state and savepoints.
The addresses of the cluster, Kafka and the schema registry come from flags, the environment or weir.yaml, so
the file does not change.`,
		Example: `  weir flink up                              # a development cluster on this machine
  weir flink check per_minute.sql            # does Flink accept it?
  weir flink deploy per_minute.sql --brokers kafka-1:9092
  weir flink status per_minute
  weir flink upgrade per_minute.sql          # new SQL, state kept
  weir flink stop per_minute                 # with a savepoint`,
	}
	cmd.AddCommand(newFlinkDeploy(), newFlinkUpgrade(), newFlinkRecover(), newFlinkCheck(), newFlinkList(), newFlinkStatus(),
		newFlinkSavepoint(), newFlinkStop(), newFlinkCancel(), newFlinkUp(), newFlinkDown())
	return cmd
}

// flinkFlags select Flink, Kafka and the schema registry.
type flinkFlags struct {
	kafka    kafkaFlags
	out      output
	cluster  flink.Config
	registry flink.Environment // the part without Kafka
}

func (f *flinkFlags) add(cmd *cobra.Command) {
	f.kafka.add(cmd)
	f.out.add(cmd)
	cmd.Flags().Lookup("brokers").Usage = "Kafka brokers, host:port,…, reachable from Flink and from this machine (default: those of the file, or a weir that serves --data-dir)"
	cmd.Flags().StringVar(&f.cluster.Gateway, "gateway", "http://127.0.0.1:8083", "address of Flink's SQL Gateway")
	cmd.Flags().StringVar(&f.cluster.JobManager, "jobmanager", "http://127.0.0.1:8081", "address of the JobManager's REST API")
}

// addTables adds the flags that set options of tables.
func (f *flinkFlags) addTables(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.registry.Registry, "registry", "", "address of the schema registry, for tables with a -confluent format")
	cmd.Flags().StringVar(&f.registry.RegistryUser, "registry-user", "", "user of the schema registry")
	secretVar(cmd.Flags(), &f.registry.RegistryPassword, "registry-password", "password of the schema registry")
}

// manager calls fn with a manager for the selected cluster.
func (f *flinkFlags) manager(cmd *cobra.Command, fn func(ctx context.Context, m *flink.Manager, asJSON bool) error) (err error) {
	asJSON, err := f.out.json()
	if err != nil {
		return err
	}
	log := f.kafka.log.logger(cmd.ErrOrStderr())
	kafka, err := f.kafka.kafka(log)
	if err != nil {
		return err
	}
	f.cluster.Logger, f.cluster.Secrets = log, secrets
	env := f.registry
	env.Kafka = kafka.Broker
	if len(env.Kafka.Brokers) == 0 {
		at, err := kafka.Join()
		if err != nil {
			return err
		}
		if at != nil {
			defer func() { err = errors.Join(err, at.Close(cmd.Context(), nil)) }()
			env.Kafka = at.Broker
		}
	}
	steps := newSteps(cmd.ErrOrStderr())
	defer steps.done()
	err = fn(cmd.Context(), &flink.Manager{Cluster: flink.NewCluster(f.cluster), Env: env, Progress: steps.step}, asJSON)
	return err
}

// withBrokers fails without Kafka, which stores the deployments.
func withBrokers(m *flink.Manager) error {
	if len(m.Env.Kafka.Brokers) == 0 {
		return usage(errors.New("no Kafka brokers are set, and Kafka stores the deployments: use --brokers, WEIR_BROKERS or brokers in weir.yaml"))
	}
	return nil
}

// steps shows the current step of a long command, on a terminal as one line that is overwritten.
type steps struct {
	w    io.Writer
	live bool
}

func newSteps(w io.Writer) *steps { return &steps{w, isTerminal(w)} }

func (s *steps) step(format string, args ...any) {
	if s.live {
		fmt.Fprintf(s.w, "\r\x1b[2K"+format+" …", args...)
		return
	}
	fmt.Fprintf(s.w, format+"\n", args...)
}

func (s *steps) done() {
	if s.live {
		fmt.Fprint(s.w, "\r\x1b[2K")
	}
}

// readPipeline reads a pipeline's file and derives its default name from that of the file.
func readPipeline(file string) (text, name string, err error) {
	raw, err := os.ReadFile(file) //nolint:gosec // path given by the user
	if err != nil {
		return "", "", unreadable(file, err)
	}
	return string(raw), strings.TrimSuffix(filepath.Base(file), ".sql"), nil
}

// ofFile adds file and line to an SQL error.
func ofFile(file, text string, err error) error {
	var at *sql.Error
	if !errors.As(err, &at) {
		return err
	}
	return &fileError{inFile(file, text, err)}
}

func newFlinkList() *cobra.Command {
	var f flinkFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List deployed pipelines and other jobs of the cluster",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.manager(cmd, func(ctx context.Context, m *flink.Manager, asJSON bool) error {
				if err := withBrokers(m); err != nil {
					return err
				}
				all, err := m.List(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), all)
				}
				if len(all) == 0 {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "no pipelines are deployed")
					return err
				}
				for _, l := range all {
					by := ""
					if !l.Deployed {
						by = "  (not deployed by weir)"
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%-24s %-10s %s  since %s%s\n", l.Name, l.State, l.JobID, l.Since.Format(time.DateTime), by)
				}
				return nil
			})
		},
	}
	f.add(cmd)
	return cmd
}

func newFlinkStatus() *cobra.Command {
	var f flinkFlags
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show state, checkpoints, lag, exceptions and possible loss of a pipeline; without NAME, show the cluster",
		Long: `Exits with 3 if the pipeline is lost or failed, or if results may be lost: after an outage longer than the sinks'
transaction timeout, or when a sink could not commit.`,
		Example: `  weir flink status per_minute
  weir flink status per_minute -o json
  weir flink status`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return f.clusterStatus(cmd)
			}
			return f.manager(cmd, func(ctx context.Context, m *flink.Manager, asJSON bool) error {
				if err := withBrokers(m); err != nil {
					return err
				}
				s, err := m.Status(ctx, args[0])
				if err != nil {
					return err
				}
				if asJSON {
					err = writeJSON(cmd.OutOrStdout(), s)
				} else {
					writeStatus(cmd.OutOrStdout(), s, time.Now())
				}
				if err == nil && (len(s.PossibleLoss) > 0 || s.State == flink.StateLost || s.State == "failed") {
					return errCheck
				}
				return err
			})
		},
	}
	f.add(cmd)
	return cmd
}

func writeStatus(w io.Writer, s *flink.Status, now time.Time) {
	fmt.Fprintf(w, "%s  %s", s.Name, s.State)
	if !s.Since.IsZero() {
		fmt.Fprintf(w, " since %s", s.Since.Format(time.DateTime))
	}
	if s.JobID != "" {
		fmt.Fprintf(w, "  job %s", s.JobID)
	}
	fmt.Fprintln(w)
	if s.State == flink.StateLost {
		fmt.Fprintf(w, "  The JobManager does not know the job: weir flink recover %s resumes from its last checkpoint.\n", s.Name)
	}
	if d := s.Deployment; d != nil && d.Savepoint != "" && d.State == "stopped" {
		fmt.Fprintf(w, "  savepoint    %s\n", d.Savepoint)
	}
	if len(s.Operators) > 0 {
		lag := "unknown"
		if s.Lag >= 0 {
			lag = count(s.Lag)
		}
		fmt.Fprintf(w, "  records      %s in, %s out, %s late and dropped, lag %s; restarts %d\n", count(s.RecordsIn), count(s.RecordsOut), count(s.Late), lag, s.Restarts)
	}
	writeCheckpoints(w, s.Checkpoints, now)
	for i := range s.Operators {
		o := &s.Operators[i]
		fmt.Fprintf(w, "  %-10s %3.0f%% busy %3.0f%% backpressured  ×%d  %s\n", o.State, 100*o.Busy, 100*o.Pressed, o.Parallelism, shortened(o.Name, 90))
	}
	for i, e := range s.Exceptions {
		if i == 3 {
			fmt.Fprintf(w, "  … and %d more exceptions: see -o json\n", len(s.Exceptions)-i)
			break
		}
		fmt.Fprintf(w, "  exception    %s  %s\n", e.At.Time().Format(time.DateTime), e.Problem)
	}
	for _, loss := range s.PossibleLoss {
		fmt.Fprintf(w, "  POSSIBLE LOSS  %s\n", loss)
	}
}

func writeCheckpoints(w io.Writer, c *flink.Checkpoints, now time.Time) {
	if c == nil {
		return
	}
	fmt.Fprintf(w, "  checkpoints  %d complete, %d failed", c.Counts.Completed, c.Counts.Failed)
	if last := c.Latest.Completed; last != nil {
		fmt.Fprintf(w, "; the last one took %s, has %s and is %s old", time.Duration(last.Duration)*time.Millisecond, bytesText(last.Size), now.Sub(last.Acked.Time()).Round(time.Second))
	}
	fmt.Fprintln(w)
	if failed := c.Latest.Failed; failed != nil && failed.Failure != "" {
		fmt.Fprintf(w, "               last failure %s: %s\n", failed.Triggered.Time().Format(time.DateTime), failed.Failure)
	}
	if r := c.Latest.Restored; r != nil {
		fmt.Fprintf(w, "               restored at %s from %s\n", r.At.Time().Format(time.DateTime), r.Path)
	}
}

// shortened cuts a text to a maximum number of characters.
func shortened(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most-1]) + "…"
}

// bytesText formats a size in human-readable form.
func bytesText(n int64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if n < 10_000 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%d GiB", n)
}

// clusterStatus shows the status of the cluster itself.
func (f *flinkFlags) clusterStatus(cmd *cobra.Command) error {
	return f.manager(cmd, func(ctx context.Context, m *flink.Manager, asJSON bool) error {
		local, localErr := localFlink(f.kafka.dataDir)
		overview, err := m.Cluster.Overview(ctx)
		if err != nil {
			return errors.Join(err, localErr)
		}
		info, err := m.Cluster.GatewayVersion(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return writeJSON(cmd.OutOrStdout(), map[string]any{
				"jobmanager": f.cluster.JobManager, "gateway": f.cluster.Gateway, "version": overview.Version, "gateway_version": info,
				"task_managers": overview.TaskManagers, "slots": overview.Slots, "free_slots": overview.FreeSlots, "processes": local,
			})
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Flink %s at %s: %d TaskManagers, %d of %d slots free; SQL Gateway %s at %s\n",
			overview.Version, f.cluster.JobManager, overview.TaskManagers, overview.FreeSlots, overview.Slots, info, f.cluster.Gateway)
		for _, name := range sortedKeys(local) {
			fmt.Fprintf(cmd.OutOrStdout(), "  %-16s pid %d\n", name, local[name])
		}
		return nil
	})
}
