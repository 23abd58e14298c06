package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/flink"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sql"
)

// deployFlags are the flags of deploy, upgrade and recover.
type deployFlags struct {
	flinkFlags
	options flink.Options
}

func (d *deployFlags) add(cmd *cobra.Command) {
	d.flinkFlags.add(cmd)
	d.addTables(cmd)
	f := cmd.Flags()
	f.IntVar(&d.options.Parallelism, "parallelism", 0, "subtasks of each operator (default: from the file, the previous deployment, or the cluster)")
	f.DurationVar(&d.options.CheckpointInterval, "checkpoint-interval", 0, "how often results become visible (default: from the file, or 10s)")
	f.StringVar(&d.options.CheckpointDir, "checkpoint-dir", "", "address (URL) of the checkpoint directory, reachable from all processes of the cluster (default: that of the cluster)")
}

func (d *deployFlags) check() error {
	switch o := d.options; {
	case o.Parallelism < 0:
		return usage(fmt.Errorf("--parallelism must be at least 1, got %d", o.Parallelism))
	case o.CheckpointInterval < 0:
		return usage(fmt.Errorf("--checkpoint-interval must be positive, got %s", o.CheckpointInterval))
	}
	return nil
}

func newFlinkDeploy() *cobra.Command {
	var (
		d         deployFlags
		savepoint string
		dry       bool
	)
	cmd := &cobra.Command{
		Use:   "deploy FILE…",
		Short: "Start pipelines on the cluster",
		Long: `Sends the statements of the file to the SQL Gateway unchanged. Tables get the brokers, the schema registry and the
credentials of this environment; sinks are exactly-once with the pipeline's transactional ids, and sources read only
committed records. Timeouts are checked and topics created before anything starts.`,
		Example: `  weir flink deploy pipelines/per_minute.sql
  weir flink deploy per_minute.sql --name per_minute_eu --brokers kafka-eu:9092 --parallelism 8
  weir flink deploy per_minute.sql --from-savepoint file:///savepoints/savepoint-1a2b3c
  weir flink deploy per_minute.sql --dry-run    # show what Flink would get, without secrets`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) > 1 && (d.options.Name != "" || savepoint != "") {
				return usage(errors.New("--name and --from-savepoint are for one file"))
			}
			if err := d.check(); err != nil {
				return err
			}
			return d.manager(cmd, func(ctx context.Context, m *flink.Manager, asJSON bool) error {
				for _, file := range files {
					text, name, err := readPipeline(file)
					if err != nil {
						return err
					}
					o := d.options
					o.Fallback = name
					if dry {
						script, err := m.Prepare(ctx, text, o)
						if err != nil {
							return ofFile(file, text, err)
						}
						writeScript(cmd.OutOrStdout(), script)
						continue
					}
					deployment, err := m.Deploy(ctx, text, o, savepoint)
					if err != nil {
						return ofFile(file, text, err)
					}
					if err := writeDeployment(cmd, &deployment, asJSON, "deployed"); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	d.add(cmd)
	f := cmd.Flags()
	f.StringVar(&d.options.Name, "name", "", "name of the pipeline (default: from SET 'pipeline.name', or that of the file)")
	f.StringVar(&savepoint, "from-savepoint", "", "path of a savepoint or checkpoint to restore state from")
	f.BoolVar(&dry, "dry-run", false, "show the statements for Flink without starting anything")
	return cmd
}

func writeScript(w io.Writer, s *flink.Script) {
	for _, key := range sortedKeys(s.Settings) {
		fmt.Fprintf(w, "SET '%s' = '%s';\n", key, s.Settings[key])
	}
	for _, statement := range s.Statements {
		fmt.Fprintf(w, "\n%s;\n", secret.Redact(statement))
	}
	fmt.Fprintf(w, "\n%s;\n", secret.Redact(s.Job))
}

func writeDeployment(cmd *cobra.Command, d *flink.Deployment, asJSON bool, verb string) error {
	for _, warning := range d.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "weir: warning: "+warning)
	}
	for _, loss := range d.PossibleLoss {
		fmt.Fprintln(cmd.ErrOrStderr(), "weir: POSSIBLE LOSS: "+loss)
	}
	var err error
	if asJSON {
		err = writeJSON(cmd.OutOrStdout(), d)
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "%s is %s as job %s", d.Name, verb, d.JobID)
		if d.RestoredFrom != "" {
			fmt.Fprintf(cmd.OutOrStdout(), ", restored from %s", d.RestoredFrom)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nweir flink status %s shows its progress\n", d.Name)
	}
	if err == nil && len(d.PossibleLoss) > 0 {
		return errCheck
	}
	return err
}

func newFlinkUpgrade() *cobra.Command {
	var d deployFlags
	cmd := &cobra.Command{
		Use:   "upgrade FILE",
		Short: "Replace the SQL of a pipeline and keep its state",
		Long: `Compares the plans of the running and the new SQL. If the state is compatible, it stops the job with a savepoint and starts
the new SQL from it. If not, it reports the differences and stops nothing. If the new job does not start, the old SQL
resumes from the savepoint.`,
		Example: `  weir flink upgrade per_minute.sql
  weir flink upgrade per_minute.sql --parallelism 8   # the same SQL with more subtasks`,
		Args: oneArg("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := d.check(); err != nil {
				return err
			}
			text, name, err := readPipeline(args[0])
			if err != nil {
				return err
			}
			return d.manager(cmd, func(ctx context.Context, m *flink.Manager, asJSON bool) error {
				o := d.options
				o.Fallback = name
				deployment, err := m.Upgrade(ctx, text, o)
				if err != nil {
					return ofFile(args[0], text, err)
				}
				return writeDeployment(cmd, &deployment, asJSON, "upgraded")
			})
		},
	}
	d.add(cmd)
	cmd.Flags().StringVar(&d.options.Name, "name", "", "name of the pipeline (default: from SET 'pipeline.name', or that of the file)")
	return cmd
}

func newFlinkRecover() *cobra.Command {
	var (
		d    deployFlags
		from string
	)
	cmd := &cobra.Command{
		Use:   "recover NAME [FILE]",
		Short: "Restart a pipeline from its last checkpoint after its JobManager was lost",
		Long: `A JobManager without ZooKeeper or Kubernetes forgets its jobs when it exits. Deployments are stored in Kafka (topic weir.flink), and
the checkpoints are kept. FILE is needed only if it contains secrets, which are not stored.

Reports possible loss and exits with 3 if the outage was longer than the sinks' transaction timeout.`,
		Example: `  weir flink recover per_minute
  weir flink recover per_minute --from s3://checkpoints/1a2b…/chk-42`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := d.check(); err != nil {
				return err
			}
			text, file := "", args[0]
			if len(args) == 2 {
				var err error
				if text, _, err = readPipeline(args[1]); err != nil {
					return err
				}
				file = args[1]
			}
			return d.manager(cmd, func(ctx context.Context, m *flink.Manager, asJSON bool) error {
				if err := withBrokers(m); err != nil {
					return err
				}
				deployment, err := m.Recover(ctx, args[0], text, from, d.options)
				if err != nil {
					return ofFile(file, text, err)
				}
				return writeDeployment(cmd, &deployment, asJSON, "recovered")
			})
		},
	}
	d.add(cmd)
	cmd.Flags().StringVar(&from, "from", "", "path of the checkpoint, if its directory can't be listed from here")
	return cmd
}

// flinkCheck is the JSON output of weir flink check for a file.
type flinkCheck struct {
	File        string   `json:"file"`
	Flink       string   `json:"flink"` // accepted, refused or not asked
	Weir        string   `json:"weir"`  // accepted or refused
	Message     string   `json:"message,omitempty"`
	WeirMessage string   `json:"weir_message,omitempty"`
	Warnings    []string `json:"warnings"`
	Differences []string `json:"differences"` // between weir run and Flink
	Plan        string   `json:"plan,omitempty"`
}

func newFlinkCheck() *cobra.Command {
	var (
		d        deployFlags
		showPlan bool
	)
	cmd := &cobra.Command{
		Use:   "check FILE…",
		Short: "Check whether Flink accepts these pipelines, and where results differ",
		Long: `Asks the SQL Gateway to plan the file, without starting anything. If no gateway is reachable, only Weir checks the
file, and the output says so. Exits with 3 if Flink rejects a file.`,
		Example: `  weir flink check pipelines/*.sql
  weir flink check per_minute.sql --plan`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, files []string) error {
			refused := false
			d.cluster.Patience = time.Second // without a gateway, Weir checks alone
			err := d.manager(cmd, func(ctx context.Context, m *flink.Manager, asJSON bool) error {
				for _, file := range files {
					text, name, err := readPipeline(file)
					if err != nil {
						return err
					}
					o := d.options
					o.Fallback = name
					c, err := checkOnFlink(ctx, m, file, text, o)
					if err != nil {
						return err
					}
					if !showPlan {
						c.Plan = ""
					}
					refused = refused || c.Flink == "refused"
					if !asJSON {
						writeFlinkCheck(cmd.OutOrStdout(), &c)
						continue
					}
					if err := writeJSON(cmd.OutOrStdout(), c); err != nil {
						return err
					}
				}
				return nil
			})
			if err == nil && refused {
				return errCheck
			}
			return err
		},
	}
	d.add(cmd)
	cmd.Flags().BoolVar(&showPlan, "plan", false, "show Flink's plan")
	return cmd
}

// checkOnFlink checks one file without contacting Kafka.
func checkOnFlink(ctx context.Context, m *flink.Manager, file, text string, o flink.Options) (flinkCheck, error) {
	c := flinkCheck{File: file, Flink: "not asked", Weir: "accepted", Warnings: []string{}, Differences: []string{}}
	program, err := plan.Compile(text, o.Fallback)
	if err != nil {
		c.Weir, c.WeirMessage = "refused", inFile(file, text, err).Error()
	} else {
		for _, d := range program.Differences {
			c.Differences = append(c.Differences, fmt.Sprintf("%s: %s", d.Name, d.Message))
		}
	}
	env := m.Env
	if len(env.Kafka.Brokers) == 0 {
		env.Kafka.Brokers = []string{"127.0.0.1:9092"} // placeholder for planning
	}
	script, err := flink.NewScript(text, env, o)
	if err != nil {
		c.Flink, c.Message = "refused", inFile(file, text, err).Error()
		var at *sql.Error
		if errors.As(err, &at) && c.Weir == "refused" {
			c.Message = "" // a syntax error that both report
		}
		return c, nil
	}
	c.Warnings = append(c.Warnings, script.Warnings...)
	c.Plan, err = m.Explain(ctx, script)
	var statement *flink.StatementError
	var unreachable *flink.UnreachableError
	switch {
	case err == nil:
		c.Flink = "accepted"
	case errors.As(err, &statement):
		c.Flink, c.Message = "refused", err.Error()
	case errors.As(err, &unreachable):
		c.Message = err.Error()
	default:
		return c, err
	}
	return c, nil
}

func writeFlinkCheck(w io.Writer, c *flinkCheck) {
	fmt.Fprintf(w, "%s: Flink: %s; weir run: %s\n", c.File, c.Flink, c.Weir)
	for _, text := range []string{c.Message, c.WeirMessage} {
		if text != "" {
			fmt.Fprintln(w, "  "+text)
		}
	}
	for _, warning := range c.Warnings {
		fmt.Fprintln(w, "  warning: "+warning)
	}
	for _, d := range c.Differences {
		fmt.Fprintln(w, "  differs: "+d)
	}
	if c.Plan != "" {
		fmt.Fprintln(w, c.Plan)
	}
}
