package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/node"
	"weir.example/weir/internal/source/fleet"
)

func newUp() *cobra.Command {
	var (
		kafka     kafkaFlags
		topic     siteFlags
		admins    adminFlags
		traces    traceFlags
		simulated fleet.Config
		listen    string
		advertise string
		sync      bool
		mark      bool
		length    time.Duration
		page      consoleFlags
		out       output
		stop      stopFlag
		values    formatFlags
		files     []string
		alerts    string
		schemas   string
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the main job: broker, simulated fleet, producer and consumer",
		Long: `Starts the embedded broker (or uses --brokers), makes the topics, and lets a simulated fleet's readings
flow through the transactional producer and the transactional consumer until Ctrl-C. A second start
resumes where the first was stopped or killed.`,
		Example: `  weir up
  weir up --pipeline alert_temperature --alerts alerts.yaml
  weir up --devices 1000 --rate 20000 --for 30s
  weir up --brokers kafka-1:9092,kafka-2:9092`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			log, err := kafka.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			named, err := topic.site()
			if err != nil {
				return err
			}
			serve := &node.ServeRegistry{Listen: schemas}
			if schemas == "none" || len(kafka.config.Brokers) > 0 {
				serve = nil
			}
			if err := values.validate(serve != nil); err != nil {
				return err
			}
			if serve != nil { // readings that need it do not go without
				serve.Optional = !cmd.Flags().Changed("registry-listen") && (values.format == "json" || values.registry.given())
			}
			if err := stop.watch(cmd.Context(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			k, err := kafka.kafka(log)
			if err != nil {
				return err
			}
			k.Listen, k.Advertise, k.Sync = listen, advertise, sync
			if err := errors.Join(checkFleet(&simulated), simulated.Validate()); err != nil {
				return usage(err)
			}
			pageConfig, err := page.config(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if length > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, length)
				defer cancel()
			}
			admin, err := admins.admin(ctx, log)
			if err != nil {
				return err
			}
			defer admin.Close()
			traced, err := traces.open(ctx, admin, log)
			if err != nil {
				return err
			}
			defer traced()
			programs, err := compileFiles(files, named)
			if err != nil {
				return err
			}
			told, err := readAlerts(alerts, programs)
			if err != nil {
				return err
			}
			view := newUpView(cmd.ErrOrStderr(), named, kafka.dataDir, len(kafka.config.Brokers) > 0)
			view.admin = admins.addr
			last, err := node.Run(ctx, node.Config{
				Kafka: k, Site: named, Fleet: simulated, Format: values.format, Registry: values.registry.config, ServeRegistry: serve, Mark: mark, Console: pageConfig, Logger: log, Admin: admin,
				StopTimeout: stop.limit(),
				StateDir:    filepath.Join(kafka.dataDir, "state"),
				Pipelines:   programs, Alerts: told,
				OnReady: view.ready, OnLook: view.look, LookEvery: view.every(),
			})
			view.done(last, err)
			if err == nil && asJSON {
				err = writeJSON(cmd.OutOrStdout(), summary(last))
			}
			return err
		},
	}
	kafka.add(cmd)
	topic.add(cmd, siteScope)
	values.add(cmd)
	admins.add(cmd, "127.0.0.1:9600")
	traces.add(cmd)
	addFleetFlags(cmd, &simulated)
	page.add(cmd)
	f := cmd.Flags()
	f.Float64Var(&simulated.Rate, "rate", 1000, "readings a second of the whole fleet; 0 as fast as it goes")
	f.StringVar(&listen, "listen", "127.0.0.1:9092", "address of the embedded broker")
	f.StringVar(&advertise, "advertise", "", "address of the embedded broker that is announced to clients, where they reach it through a proxy or a forwarded port (default: that of --listen)")
	f.StringVar(&schemas, "registry-listen", node.DefaultRegistryListen, "address of the schema registry beside the embedded broker; none turns it off")
	f.BoolVar(&sync, "sync", false, "wait for the disk at each commit, so that a power failure loses nothing")
	f.BoolVar(&mark, "mark", true, "mark each record with its transaction, so that weir verify finds torn ones")
	f.StringSliceVar(&files, "pipeline", nil, "file or name of a pipeline to run beside, as weir run does; may be given again")
	f.StringVar(&alerts, "alerts", "", "file that says who is notified of the pipelines' alerts, YAML")
	f.DurationVar(&length, "for", 0, "stop by itself after this time, such as 30s")
	stop.add(cmd)
	out.add(cmd)
	return cmd
}

// addFleetFlags adds the flags of a simulated fleet, but for its rate, whose default differs.
func addFleetFlags(cmd *cobra.Command, simulated *fleet.Config) {
	f := cmd.Flags()
	f.IntVar(&simulated.Devices, "devices", 100, "devices of the simulated fleet, with five sensors each")
	f.StringVar(&simulated.Prefix, "device-prefix", "device-", "what device ids begin with, before their number")
	f.Uint64Var(&simulated.Seed, "seed", 42, "the same seed makes the same fleet; another seed another one")
	f.Float64Var(&simulated.Outages, "outages", 0, "share of the time windows in which a device falls silent and boots again, 0 to 1")
	f.Float64Var(&simulated.Spikes, "spikes", 0.001, "share of readings that are outliers, 0 to 1")
	f.Float64Var(&simulated.OutOfOrder, "out-of-order", 0, "share of readings with a late event time, 0 to 1")
	f.Float64Var(&simulated.Repeats, "repeats", 0, "share of readings that a device sends twice, 0 to 1")
	f.Float64Var(&simulated.Noise, "noise", 1, "factor of the sensors' noise; 0 for none")
	f.Float64Var(&simulated.Drift, "drift", 1, "factor of the sensors' slow drift; 0 for none")
}

// checkFleet refuses a fleet without devices: to the source, 0 is its default.
func checkFleet(simulated *fleet.Config) error {
	if simulated.Devices < 1 {
		return fmt.Errorf("--devices %d: a fleet has at least 1", simulated.Devices)
	}
	return nil
}

func summary(s node.Snapshot) map[string]any {
	return map[string]any{
		"seconds": s.Elapsed.Seconds(), "produced": s.Produced, "consumed": s.Consumed,
		"transactions": s.Transactions, "dead_letters": s.DeadLetters,
		"latency_p50_ms": millis(s.P50), "latency_p99_ms": millis(s.P99),
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func latency(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f ms", millis(d))
}
