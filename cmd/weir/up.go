package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/ingest"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/source/fleet"
)

// upCommand is one invocation of weir up.
type upCommand struct {
	kafka         kafkaFlags
	topic         siteFlags
	admins        adminFlags
	traces        traceFlags
	console       consoleFlags
	out           output
	stop          stopFlag
	format        formatFlags
	config        node.Config // from flags; run fills in the rest
	listen        string
	announce      string
	sync          bool
	secure        bool // make a certificate and a first user
	first         firstStart
	registryLogin bool
	registry      string // address to serve the schema registry on
	files         []string
	alerts        string
	ingest        string // file of weir ingest
	ack           string // when devices are answered
	http          string // address for readings of devices
	mqtt          string // likewise
	length        time.Duration
}

func newUp() *cobra.Command {
	var u upCommand
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything locally: broker, simulated devices, producer and pipeline",
		Long: `Starts the embedded broker (or uses --brokers), creates the topics, and sends the readings of a simulated fleet
through the transactional producer and the statistics pipeline until Ctrl-C. A later start resumes where this one
was stopped or killed.`,
		Example: `  weir up
  weir up --pipeline alert_temperature --alerts alerts.yaml
  weir up --devices 1000 --rate 20000 --for 30s
  weir up --no-fleet --mqtt :1883     # your devices instead; also --http :8086, --ingest ingest.yaml
  weir up --brokers kafka-1:9092,kafka-2:9092`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := u.out.json()
			if err != nil {
				return err
			}
			log := u.kafka.log.logger(cmd.ErrOrStderr())
			if err := u.configure(cmd, log); err != nil {
				return err
			}
			if err := u.stop.watch(cmd.Context(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			last, err := u.run(cmd, log)
			if err == nil && asJSON {
				err = writeJSON(cmd.OutOrStdout(), summary(last))
			}
			return err
		},
	}
	u.add(cmd)
	return cmd
}

func (u *upCommand) add(cmd *cobra.Command) {
	u.kafka.add(cmd)
	u.topic.add(cmd, siteScope)
	u.format.add(cmd)
	u.admins.add(cmd, "127.0.0.1:9600")
	u.traces.add(cmd)
	addFleetFlags(cmd, &u.config.Fleet)
	u.console.add(cmd)
	f := cmd.Flags()
	f.Float64Var(&u.config.Fleet.Rate, "rate", 1000, "readings per second of the whole fleet; 0 for as fast as possible")
	f.StringVar(&u.listen, "listen", "127.0.0.1:9092", "address of the embedded broker")
	f.StringVar(&u.announce, "advertise", "", "host:port at which clients reach the embedded broker, if not that of --listen: behind a proxy or a forwarded port, or if --listen is a wildcard such as 0.0.0.0")
	f.StringVar(&u.registry, "registry-listen", node.DefaultRegistryListen, "address of the schema registry that runs with the embedded broker; none disables it")
	f.BoolVar(&u.registryLogin, "registry-login", false, "users of the broker have to log in to the schema registry, if there are any: readers to read, operators to write")
	f.BoolVar(&u.sync, "sync", false, "acknowledge writes and commits only once they are on the disk, so that a power failure loses nothing")
	f.BoolVar(&u.secure, "secure-listen", false, "serve a certificate that weir makes in the data directory, unless there is --listen-cert, and add the user admin at the first start; prints its password once")
	f.BoolVar(&u.config.Mark, "mark", true, "mark each record with its transaction, so that weir verify detects partially committed ones")
	f.StringSliceVar(&u.files, "pipeline", nil, "file or name of another pipeline to run, as with weir run; may be repeated")
	f.StringVar(&u.alerts, "alerts", "", "file in YAML with the receivers of the pipelines' alerts")
	f.BoolVar(&u.config.NoFleet, "no-fleet", false, "simulate no devices")
	f.StringVar(&u.ingest, "ingest", "", "accept readings of devices as with weir ingest FILE")
	f.StringVar(&u.http, "http", "", "accept readings of devices by HTTP at this address, such as :8086 for port 8086 of 127.0.0.1; takes precedence over that of --ingest")
	f.StringVar(&u.mqtt, "mqtt", "", "run an MQTT broker for devices at this address, such as :1883 for port 1883 of 127.0.0.1; takes precedence over that of --ingest")
	f.StringVar(&u.ack, "ack", "", "acknowledge readings of devices once they are on the disk (spool, the default), or only once they are committed (kafka); takes precedence over ack in the file of --ingest")
	f.DurationVar(&u.length, "for", 0, "stop after this long, such as 30s")
	u.stop.add(cmd)
	u.out.add(cmd)
}

// configure checks the flags and derives the configuration of the node.
func (u *upCommand) configure(cmd *cobra.Command, log *slog.Logger) (err error) {
	c := &u.config
	if c.Site, err = u.topic.site(); err != nil {
		return err
	}
	if u.registry != "none" && len(u.kafka.config.Brokers) == 0 {
		c.ServeRegistry = &node.ServeRegistry{Listen: u.registry, Login: u.registryLogin}
	}
	if err := u.format.validate(c.ServeRegistry != nil); err != nil {
		return err
	}
	c.Format, c.Registry = u.format.format, u.format.registry.config
	if c.ServeRegistry != nil { // required if readings depend on it
		c.ServeRegistry.Optional = !cmd.Flags().Changed("registry-listen") && (c.Format == "json" || u.format.registry.given())
	}
	if c.Kafka, err = u.kafka.kafka(log); err != nil {
		return err
	}
	if u.secure {
		if err := u.secureListen(); err != nil {
			return err
		}
	}
	c.Kafka.Listen, c.Kafka.Advertise, c.Kafka.Sync, c.Kafka.InsecureListen = u.listen, u.announce, u.sync, u.admins.serve.insecure
	if c.Kafka.TLS, err = u.admins.serve.server(log); err != nil {
		return err
	}
	if c.Kafka.OpenID, err = u.admins.serve.provider(); err != nil {
		return err
	}
	if err := errors.Join(checkFleet(&c.Fleet), c.Fleet.Validate()); err != nil {
		return usage(err)
	}
	if c.Console, err = u.console.config(cmd, node.Web{TLS: c.Kafka.TLS, Insecure: u.admins.serve.insecure}); err != nil {
		return err
	}
	if c.Pipelines, err = compileFiles(u.files, c.Site); err != nil {
		return err
	}
	if c.Alerts, err = readAlerts(u.alerts, c.Pipelines); err != nil {
		return err
	}
	if u.ingest != "" || u.http != "" || u.mqtt != "" {
		devices, err := ingest.ReadWith(u.ingest, ingest.Override{HTTP: u.http, MQTT: u.mqtt, Ack: u.ack})
		if err != nil {
			return usage(err)
		}
		c.Devices = &node.DevicesConfig{Ingest: devices, DataDir: u.kafka.dataDir}
	}
	if u.ack != "" && c.Devices == nil {
		return usage(errors.New("--ack is about readings of devices: add --http, --mqtt or --ingest"))
	}
	c.Logger, c.StopTimeout = log, u.stop.limit()
	c.StateDir = filepath.Join(u.kafka.dataDir, "state")
	return nil
}

// run runs the node until Ctrl-C or for the requested duration, and shows its progress.
func (u *upCommand) run(cmd *cobra.Command, log *slog.Logger) (node.Snapshot, error) {
	ctx := cmd.Context()
	if u.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, u.length)
		defer cancel()
	}
	web, err := u.web(ctx, log)
	if err != nil {
		return node.Snapshot{}, err
	}
	admin, err := u.admins.open(ctx, web, log)
	if err != nil {
		return node.Snapshot{}, err
	}
	defer admin.Close()
	closeTraces, err := u.traces.open(ctx, admin, log)
	if err != nil {
		return node.Snapshot{}, err
	}
	defer closeTraces()
	view := newUpView(cmd.ErrOrStderr(), u.config.Site, u.kafka.dataDir, len(u.kafka.config.Brokers) > 0)
	view.admin = u.admins.url
	c := u.config
	c.Admin = admin
	c.OnSnapshot, c.SnapshotInterval = view.show, view.every()
	ended := func(error) {}
	c.OnBroker = func(ctx context.Context, at broker.Config) error { return u.first.finish(ctx, at, cmd.ErrOrStderr()) }
	c.OnReady = func(ready node.Ready) {
		if len(u.kafka.config.Brokers) == 0 {
			ended = recordCommand(cmd, u.kafka.dataDir, log)
		}
		view.ready(ready)
	}
	defer u.first.renew(ctx, log)()
	last, err := node.Run(ctx, c)
	err = untilStopped(ctx, err)
	ended(err)
	view.done(last, err)
	return last, err
}

// web returns what the servers of HTTP share before the broker is open, which then shares its users
// with them. Who has to log in does not depend on it.
func (u *upCommand) web(ctx context.Context, log *slog.Logger) (node.Web, error) {
	web, err := u.admins.serve.web(log)
	if err != nil {
		return web, err
	}
	web.TLS = u.config.Kafka.TLS
	users := guard.Config{ClientCerts: u.config.Kafka.OpenID != nil || web.TLS != nil && web.TLS.ClientCerts()}
	if len(u.kafka.config.Brokers) == 0 {
		users.Dir = u.kafka.dataDir
	} else {
		users.OpenID = u.config.Kafka.OpenID
	}
	web.Guard, err = guard.Join(ctx, users)
	return web, err
}

// addFleetFlags adds the flags of a simulated fleet except its rate, whose default differs between
// commands.
func addFleetFlags(cmd *cobra.Command, simulated *fleet.Config) {
	f := cmd.Flags()
	f.IntVar(&simulated.Devices, "devices", 100, "devices of the simulated fleet, with five sensors each")
	f.StringVar(&simulated.Prefix, "device-prefix", "device-", "prefix of the device ids, followed by a number")
	f.Uint64Var(&simulated.Seed, "seed", 42, "seed of the simulation; equal seeds give equal fleets")
	f.Float64Var(&simulated.Outages, "outages", 0, "share of time windows in which a device goes offline and reboots, 0 to 1")
	f.Float64Var(&simulated.Spikes, "spikes", 0.001, "share of readings that are outliers, 0 to 1")
	f.Float64Var(&simulated.OutOfOrder, "out-of-order", 0, "share of readings with a late event time, 0 to 1")
	f.Float64Var(&simulated.Repeats, "repeats", 0, "share of readings that a device sends twice, 0 to 1")
	f.Float64Var(&simulated.Noise, "noise", 1, "factor for the sensors' noise; 0 for none")
	f.Float64Var(&simulated.Drift, "drift", 1, "factor for the sensors' slow drift; 0 for none")
}

// checkFleet rejects a fleet without devices, because the source interprets 0 as the default.
func checkFleet(simulated *fleet.Config) error {
	if simulated.Devices < 1 {
		return fmt.Errorf("--devices must be at least 1, got %d", simulated.Devices)
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
