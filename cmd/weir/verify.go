package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/audit"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/site"
)

func newVerify() *cobra.Command {
	var (
		kafka kafkaFlags
		topic siteFlags
		out   output
		acks  []string
		wait  time.Duration
		win   windowFlags
		reg   registryFlags
		state copyFlags
		sinks []string

		compacted string
	)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check independently that nothing was lost, duplicated, partially committed or reordered",
		Long: `Reads the topics like any other consumer and recomputes the expected results. It may run while readings flow. Exits
with 3 if anything is wrong.

With --windows, it also recomputes the results of a windowed pipeline and compares input with output: windows, late
rows, dead letters and windows that are still open.

With --state-dir, it compares local copies of pipeline state with their changelogs (C9); with the embedded broker, this
is the default for the copies in its data directory. Copies in use are not checked: stop the pipelines first.

With --sinks, it compares the tables of databases and the files that a pipeline writes with their topics, row by row
(C7), as far as they are delivered. Files are read on this machine. With --compacted, the files that weir sink compact
has written to a directory are compared instead of the original ones.`,
		Example: `  weir verify
  weir verify -o json --acks acks.ndjson
  weir verify --registry http://127.0.0.1:8081      # readings in a format with schemas
  weir verify --state-dir /var/lib/weir/state --pipeline per_minute
  weir verify --sinks totals.sql                    # and its tables in PostgreSQL, SQLite or files
  weir verify --windows sensor_1m --window-size 1m --late per_minute.late --window-dlq per_minute.dlq`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			of, err := topic.site()
			if err != nil {
				return err
			}
			windows, err := win.config(cmd)
			if err != nil {
				return err
			}
			return kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
				schemas, err := reg.plain()
				if err != nil {
					return err
				}
				copies, err := state.config(&kafka, of)
				if err != nil {
					return err
				}
				databases, others, err := databasesOf(sinks, of)
				if err != nil {
					return err
				}
				if compacted != "" {
					if databases, err = copiesIn(compacted, databases); err != nil {
						return err
					}
				}
				for _, note := range others {
					fmt.Fprintln(cmd.ErrOrStderr(), "note:", note)
				}
				progress, done := progressLine(cmd, func(done, total int64) string { return "checked " + count(done) + " of " + count(total) + " records" })
				report, err := audit.Verify(ctx, audit.Config{
					Broker: at.Broker, Topic: topic.topic,
					Windows: windows, Copies: copies, Databases: databases, Registry: schemas, Acks: acks, Wait: wait, Progress: progress,
				})
				done()
				if err != nil {
					return err
				}
				return writeVerdict(cmd.OutOrStdout(), report, asJSON)
			})
		},
	}
	kafka.add(cmd)
	topic.add(cmd, "statistics, dead letters and the consumer group are those of these readings")
	cmd.Flags().StringSliceVar(&acks, "acks", nil, "acknowledgement logs of producers (weir produce --ack-log)")
	cmd.Flags().DurationVar(&wait, "wait", 60*time.Second, "how long to wait for open transactions to end")
	cmd.Flags().StringSliceVar(&sinks, "sinks", nil, "pipelines whose tables in databases and files are compared with their topics (C7)")
	cmd.Flags().StringVar(&compacted, "compacted", "", "directory of weir sink compact --into: compare its files, and no other tables, with the topics of --sinks")
	win.add(cmd)
	state.add(cmd)
	reg.add(cmd)
	out.add(cmd)
	return cmd
}

// copyFlags select the local copies of state to check.
type copyFlags struct{ dir, pipeline string }

func (c *copyFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.dir, "state-dir", "", "local copies of pipeline state to check (C9), or none (default with the embedded broker: state in --data-dir, if it exists)")
	f.StringVar(&c.pipeline, "pipeline", "", "check only this pipeline's local copies")
}

// config limits the check to the pipelines of a site, unless it is the default one.
func (c *copyFlags) config(kafka *kafkaFlags, of site.Site) (audit.CopyConfig, error) {
	config := audit.CopyConfig{Dir: c.dir, Pipeline: c.pipeline, Alone: c.dir != ""}
	if config.Pipeline == "" && !of.IsDefault() {
		config.Pipeline = of.Scoped("*")
	}
	switch {
	case c.dir == "none":
		return audit.CopyConfig{}, nil
	case c.dir == "" && len(kafka.config.Brokers) == 0:
		dir := filepath.Join(kafka.dataDir, "state")
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			config.Dir = dir
		}
	case c.dir != "":
		if info, err := os.Stat(c.dir); err != nil || !info.IsDir() {
			return config, usage(fmt.Errorf("--state-dir %s: directory not found: use the --state-dir of weir run", c.dir))
		}
	}
	if config.Dir == "" && c.pipeline != "" {
		return config, usage(errors.New("--pipeline needs --state-dir, the directory of the pipeline's local copies"))
	}
	return config, nil
}

// windowFlags describe the windowed pipeline to check.
type windowFlags struct {
	windows audit.WindowConfig
	columns string
}

func (w *windowFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.windows.Topic, "windows", "", "topic of tumbling windows to check (C4, C5)")
	f.DurationVar(&w.windows.Size, "window-size", 0, "length of a window, such as 1m")
	f.StringVar(&w.windows.Late, "late", "", "topic of rows that arrived after their window had closed")
	f.StringVar(&w.windows.DLQ, "window-dlq", "", "topic of the records that the pipeline could not decode")
	f.StringVar(&w.windows.Group, "window-group", "", "consumer group of the pipeline (default weir-NAME, where --late is NAME.late)")
	f.DurationVar(&w.windows.Delay, "window-delay", 5*time.Second, "delay of the pipeline's watermark after the maximum event time of a partition")
	f.BoolVar(&w.windows.Bounded, "bounded", false, "producers and pipeline have finished: every record must be processed and no window may be open")
	f.BoolVar(&w.windows.SharedWatermark, "window-shared-watermark", false,
		"the pipeline has one watermark for all partitions, that of the slowest, as in Flink")
	f.StringVar(&w.columns, "window-columns", audit.DefaultWindowColumns, "columns of the window results; aggregates that are left out are not checked")
}

// config parses the flags, which require --windows.
func (w *windowFlags) config(cmd *cobra.Command) (audit.WindowConfig, error) {
	if w.windows.Topic == "" {
		// --bounded is not included: WEIR_BOUNDED may be set for other commands.
		for _, name := range []string{"window-size", "late", "window-dlq", "window-group", "window-delay", "window-shared-watermark", "window-columns"} {
			if cmd.Flags().Changed(name) {
				return w.windows, usage(fmt.Errorf("--%s needs --windows, the topic of the windows", name))
			}
		}
		return audit.WindowConfig{}, nil
	}
	var err error
	if w.windows.Columns, err = audit.ParseWindowColumns(w.columns); err != nil {
		return w.windows, usage(fmt.Errorf("--window-columns: %w", err))
	}
	switch {
	case w.windows.Size == 0:
		return w.windows, usage(fmt.Errorf("--windows needs --window-size, such as --window-size 1m"))
	case w.windows.Group == "" && w.windows.Late == "":
		return w.windows, usage(fmt.Errorf("--windows needs the pipeline's consumer group: --window-group weir-NAME, or --late NAME.late"))
	}
	if err := w.windows.Validate(); err != nil {
		return w.windows, usage(err)
	}
	return w.windows, nil
}

// verdict is the report of a check.
type verdict interface {
	WriteText(w io.Writer) error
	Clean() bool
}

// writeVerdict writes a report and returns errCheck if the check failed.
func writeVerdict(w io.Writer, report verdict, asJSON bool) error {
	var err error
	if asJSON {
		err = writeJSON(w, report)
	} else {
		err = report.WriteText(w)
	}
	if err == nil && !report.Clean() {
		return errCheck
	}
	return err
}
