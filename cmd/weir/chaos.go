package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/chaos"
	"weir.example/weir/internal/stack"
)

func newChaos() *cobra.Command {
	var (
		cfg     chaos.Config
		on      string
		dataDir string
		log     logFlag
		result  string
		page    []string
		out     output
	)
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Inject faults while readings flow, and prove that nothing is lost or duplicated",
		Long: `Starts producers and a stateful pipeline as separate processes, and injects one fault after another: processes
and brokers are killed, or paused and resumed; connections are cut or delayed; disks fill up; leaders move;
operators make mistakes. During the run and at its end, readings, windows and groups are compared with the
acknowledgements and the log. Exits with 3 if anything is wrong.

The faults are injected into the embedded broker of a weir up that the command starts or, with --on kafka, into the
cluster of weir kafka up in the same --data-dir. Brokers are killed and topics deleted: use that cluster for nothing
else. Without root, faults that need their own file system are skipped and reported.

Kinds of faults:
` + chaosKinds(),
		Example: `  weir chaos                                     # ten minutes against the embedded broker
  weir chaos --duration 2m --faults broker-kill,engine-kill,endtxn-held
  weir chaos --seed 7 --faults accident          # the same faults in the same order
  weir chaos --pipeline joins --duration 5m
  weir kafka up --brokers 3 --data-dir .weir-chaos
  weir chaos --on kafka --data-dir .weir-chaos --duration 30m -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if len(page) > 0 {
				return chaosPage(cmd.OutOrStdout(), page)
			}
			if err := errors.Join(chaos.CheckKinds(cfg.Faults), chaos.CheckPipeline(cfg.Pipeline)); err != nil {
				return usage(err)
			}
			if !cmd.Flags().Changed("seed") {
				cfg.Seed = rand.Uint64() >> 1 //nolint:gosec // printed, not secret
			}
			switch on {
			case "embedded":
			case "kafka":
				if cfg.Kafka, err = stack.OpenKafka(kafkaDir(dataDir)); errors.Is(err, stack.ErrNoCluster) {
					return fmt.Errorf("%w: start one with weir kafka up --brokers 3 --data-dir %s", err, dataDir)
				} else if err != nil {
					return err
				}
			default:
				return usage(fmt.Errorf("unknown --on %q: choose embedded or kafka", on))
			}
			if cfg.Dir, err = chaosDir(dataDir, cfg.Seed); err != nil {
				return err
			}
			binary, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the weir binary: %w", err)
			}
			cfg.Weir, cfg.Logger = chaos.Weir{Binary: binary, Env: []string{"TMPDIR=" + cfg.Dir}}, log.logger(cmd.ErrOrStderr())
			progress, done := chaosProgress(cmd.ErrOrStderr())
			cfg.OnProgress = progress
			fmt.Fprintf(cmd.ErrOrStderr(), "seed %d, logs in %s\n", cfg.Seed, cfg.Dir)
			report, err := chaos.Run(cmd.Context(), cfg)
			done()
			if report != nil && result != "" {
				if saved := report.Save(result); saved != nil {
					return errors.Join(err, saved)
				}
			}
			if err != nil {
				return err
			}
			return writeVerdict(cmd.OutOrStdout(), report, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&on, "on", "embedded", "target: embedded, the broker of a weir up that is started for the run, or kafka, the cluster of weir kafka up in --data-dir")
	f.StringVar(&dataDir, "data-dir", ".weir-chaos", "directory for the results of runs, in chaos/, and of the cluster, in kafka/")
	f.Uint64Var(&cfg.Seed, "seed", 0, "determines the faults and their order (default: random, and printed)")
	f.DurationVar(&cfg.Duration, "duration", 10*time.Minute, "how long to inject faults")
	f.StringSliceVar(&cfg.Faults, "faults", nil, "kinds of faults (default: all)")
	f.StringVar(&cfg.Pipeline, "pipeline", chaos.PipelineGroups, "pipeline under test: groups (windows and groups of readings) or joins (of two streams: of equal windows, within an interval, and of all rows)")
	f.Float64Var(&cfg.Rate, "rate", 3000, "readings per second of all producers")
	f.IntVar(&cfg.Devices, "devices", 100, "devices per producer")
	f.DurationVar(&cfg.VerifyEvery, "verify-every", 5*time.Minute, "interval of the checks during the run")
	log.add(f)
	f.StringVar(&result, "result", "", "file to write the report to as JSON, even if the run fails")
	f.StringSliceVar(&page, "page", nil, "write a page from the --result files of earlier runs, and run nothing")
	out.add(cmd)
	return cmd
}

func chaosKinds() string {
	var b strings.Builder
	for _, k := range chaos.Kinds() {
		fmt.Fprintf(&b, "  %-16s %s\n", k.Name, k.About)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// chaosDir creates the directory of a run.
func chaosDir(dataDir string, seed uint64) (string, error) {
	dir, err := filepath.Abs(filepath.Join(dataDir, "chaos", fmt.Sprintf("%s-%d", time.Now().UTC().Format("20060102-150405"), seed)))
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o750)
}

func chaosPage(w io.Writer, files []string) error {
	var all []*chaos.Report
	for _, file := range files {
		r, err := chaos.LoadReport(file)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	return chaos.WritePage(w, all)
}

// chaosProgress prints the progress: on a terminal as one line that is updated, otherwise one line
// every ten faults.
func chaosProgress(w io.Writer) (progress func(chaos.Progress), done func()) {
	moving := isTerminal(w)
	faults := -1
	return func(p chaos.Progress) {
			line := fmt.Sprintf("%s of %s, %s readings, %d faults, %d failures  %s", p.Elapsed.Round(time.Second), p.Of, count(p.Readings), p.Faults, p.Failures, p.Now)
			switch {
			case moving:
				fmt.Fprintf(w, "\r\x1b[2K%s", line)
			case p.Faults/10 != faults/10 || faults < 0:
				fmt.Fprintln(w, line)
			}
			faults = p.Faults
		}, func() {
			if moving {
				fmt.Fprint(w, "\r\x1b[2K")
			}
		}
}
