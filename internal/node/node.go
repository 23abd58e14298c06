// Package node assembles a running Weir: the whole flow of a reading, constructed in one place.
//
//	node.go        Config and Run
//	attach.go      the broker: a named one, an embedded one, or one that another process serves
//	brokers.go     the brokers that tables name
//	pipelines.go   pipelines with workers, alerts and metrics, for weir run and weir up
//	sinks.go       sinks of tables outside of Kafka, beside their pipelines
//	generated.go   tables whose rows are generated beside their pipeline
//	devicestats.go the main job's pipeline, for each format of readings
//	slots.go       worker names for transactional ids
//	registry.go    the schema registry that runs with the embedded broker
//	devices.go     readings that devices send
//	console.go     the console
//	side.go        pipelines that run alongside the main job, isolated from each other's failures
//	running.go     discovery of embedded brokers on this machine
//	meter.go       rates and latencies, for weir up and the console
//	admin.go       the admin port: metrics, health, readiness, status, profiles
//	alerts.go      delivery of alerts
//	owner_unix.go  file ownership; owner_other.go for other systems
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sync/errgroup"

	"weir.example/weir/internal/alert"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/console"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/source/fleet"
)

// Topics of the main job on the default site.
const (
	SensorData  = site.DefaultReadings
	DeviceStats = site.DefaultStats
	DeadLetters = site.DefaultDeadLetters
	Progress    = site.DefaultProgress
)

// Config configures a node.
type Config struct {
	Kafka Kafka
	Site  site.Site // names of topics, pipeline and source; default site.Site{}
	Fleet fleet.Config

	NoFleet bool           // simulate no devices
	Devices *DevicesConfig // nil: none can send readings

	Format   string          // of the readings, one of produce.Formats; default json
	Registry registry.Config // for formats with a schema; default the one at ServeRegistry

	ServeRegistry *ServeRegistry // nil: none; requires the embedded broker

	CommitInterval time.Duration // of the producer and the consumer; default 100 ms
	StopTimeout    time.Duration // time to finish open transactions after ctx is done; default 20 s
	Compression    string        // default snappy
	StateDir       string        // local copies of the state; "" keeps it in memory only

	Pipelines []*plan.Program // run alongside the main job
	Alerts    *alert.Config   // receivers of the pipelines' alerts; nil for none
	Mark      bool            // mark transactions for weir verify

	Console *console.Config // nil: none; its sources are filled in

	Logger *slog.Logger
	Admin  *Admin // default: one that is not served

	MonitorInterval time.Duration // of monitoring the embedded broker (see weir monitor); default 10 s

	// OnBroker is called when the broker serves, before anything uses it; an error ends Run.
	OnBroker         func(context.Context, broker.Config) error
	OnReady          func(Ready)    // called when the flow is about to start
	OnSnapshot       func(Snapshot) // called every SnapshotInterval
	SnapshotInterval time.Duration  // default 500 ms
}

// Run runs the flow until ctx is done or a part fails permanently:
//
//	fleet ──► produce ──► sensor_data_tx ──► engine (pipelines/device_stats.sql) ──► device_stats
//
// Parts are opened in this order and closed in reverse order; open transactions are committed
// first.
func Run(ctx context.Context, cfg Config) (Snapshot, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Admin == nil {
		cfg.Admin = NewAdmin()
		defer cfg.Admin.Close()
	}
	cfg.Kafka.Logger = cfg.Logger
	meter := newMeter()

	kafka, err := cfg.Kafka.Serve(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	if kafka.Embedded() {
		cfg.Admin.share(kafka.Guard(), kafka.embedded.Trail().Add)
	}
	err = cfg.run(ctx, kafka, meter)
	return meter.snapshot(), errors.Join(err, kafka.Close(context.Background(), nil))
}

func (cfg *Config) run(ctx context.Context, kafka *Attachment, meter *meter) error {
	if cfg.OnBroker != nil {
		if err := cfg.OnBroker(ctx, kafka.Broker); err != nil {
			return err
		}
	}
	if err := ApplyTopics(ctx, kafka.Broker, cfg.Site); err != nil {
		return err
	}
	simulated, err := fleet.New(cfg.Fleet)
	if err != nil {
		return err
	}
	schemas, noSchemas, err := cfg.openRegistry(ctx, kafka)
	if err != nil {
		return err
	}
	defer schemas.close(cfg.Logger)
	cfg.Format = cmp.Or(cfg.Format, "json")
	stats, err := CompileDeviceStats(cfg.Site, cfg.Format, cfg.Registry)
	if err != nil {
		return err
	}
	if err := kafka.Observe(cfg.Admin.Registry); err != nil {
		return err
	}
	observed := cfg.Admin.Broker(kafka.Broker)
	src := produce.Named(simulated, cfg.Site.SourceName(simulated.Name()))
	producer := produce.Config{
		Broker: observed, Topic: cfg.Site.Readings(), DLQ: cfg.Site.DeadLetters(), Progress: cfg.Site.Progress(),
		Rate: cfg.Fleet.Rate, CommitInterval: cfg.CommitInterval, StopTimeout: cfg.StopTimeout, Compression: cfg.Compression,
		MarkTransactions: cfg.Mark, Logger: cfg.Logger,
		OnCommit: func(c produce.Commit) { meter.produced(c.Readings, c.DeadLetters) },
	}
	devices, err := cfg.openDevices(ctx, kafka, producer)
	if err != nil {
		return err
	}
	if !cfg.NoFleet {
		producer = cfg.Admin.Producer(producer, src)
	}
	consumers, free, err := cfg.consumers(observed, stats, meter)
	if err != nil {
		return err
	}
	defer free()
	var shown []console.Pipeline
	for _, c := range consumers {
		shown = append(shown, console.Pipeline{Program: c.Program, Status: c.Status.Snapshot, Sinks: cfg.Admin.sinksOf(c.Status)})
	}
	page, busy, err := cfg.openConsole(ctx, kafka, meter, devices, shown...)
	if err != nil {
		return err
	}
	if cfg.OnReady != nil {
		cfg.OnReady(Ready{kafka.Describe(), page.URL(), busy, schemas.url(), noSchemas, devices.URLs(), devices.Sources(), !cfg.NoFleet})
	}
	flow, ctx := errgroup.WithContext(ctx)
	flow.Go(func() error {
		if devices == nil {
			return nil
		}
		encoding, err := cfg.encoding(ctx)
		if err != nil {
			return fmt.Errorf("readings of devices: %w", err)
		}
		return devices.Run(ctx, encoding)
	})
	flow.Go(func() error {
		if cfg.NoFleet {
			return nil
		}
		encoding, err := cfg.encoding(ctx)
		if err != nil {
			return fmt.Errorf("producer: %w", err)
		}
		producer.Encoding = encoding
		_, err = produce.Run(ctx, producer, src)
		if err != nil {
			return fmt.Errorf("producer: %w", err)
		}
		return nil
	})
	flow.Go(func() error {
		if _, err := cfg.Admin.Run(ctx, consumers[0]); err != nil {
			return fmt.Errorf("pipeline %s: %w", stats.Name, err)
		}
		return nil
	})
	side := sidePipelines{logger: cfg.Logger, admin: cfg.Admin}
	for _, c := range consumers[1:] {
		flow.Go(func() error { side.run(ctx, c); return nil })
	}
	flow.Go(func() error {
		return cfg.Admin.Deliver(ctx, observed, cfg.Site, cfg.Alerts, cfg.Pipelines, cfg.StopTimeout, cfg.Logger)
	})
	flow.Go(func() error { return page.Run(ctx) })
	if kafka.Embedded() { // other clusters have their own weir monitor
		flow.Go(func() error { return cfg.Admin.Monitor(ctx, kafka.Broker, cfg.MonitorInterval, cfg.Logger) })
	}
	flow.Go(func() error { return cfg.report(ctx, kafka.Broker, meter) })
	return errors.Join(flow.Wait(), side.err())
}

// openDevices returns what accepts readings of devices; nil for nothing.
func (cfg *Config) openDevices(ctx context.Context, kafka *Attachment, base produce.Config) (*Devices, error) {
	if cfg.Devices == nil {
		return nil, nil
	}
	c := *cfg.Devices
	c.Guard, c.TLS, c.Insecure = kafka.Guard(), cfg.Kafka.TLS, c.Insecure || cfg.Kafka.InsecureListen
	return cfg.Admin.Devices(ctx, &c, base, cfg.Site, cfg.Logger)
}

// encoding returns the encoding of readings; nil for JSON.
func (cfg *Config) encoding(ctx context.Context) (produce.Encoding, error) {
	if cfg.Format == "json" {
		return nil, nil
	}
	cfg.Registry.Logger = cfg.Logger
	client, err := registry.NewClient(cfg.Admin.SchemaRegistry(cfg.Registry))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return produce.Register(ctx, client, produce.Registered{Format: cfg.Format, Topic: cfg.Site.Readings(), Logger: cfg.Logger})
}

// report calls OnSnapshot at intervals until ctx is done.
func (cfg *Config) report(ctx context.Context, c broker.Config, meter *meter) error {
	if cfg.OnSnapshot == nil {
		return nil
	}
	interval := cmp.Or(cfg.SnapshotInterval, 500*time.Millisecond)
	client, err := broker.Connect(ctx, c)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	meter.snapshot()
	for retry.Sleep(ctx, interval) == nil {
		meter.open(openTransactions(ctx, admin))
		cfg.OnSnapshot(meter.snapshot())
	}
	return nil
}

// openTransactions returns the number of open transactions; -1 if it is unknown.
func openTransactions(ctx context.Context, admin *kadm.Client) int {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	listed, err := admin.ListTransactions(ctx, nil, []string{"Ongoing"})
	if err != nil {
		return -1
	}
	return len(listed)
}

// ApplyDefaultTopics creates the topics of the default site that do not exist.
func ApplyDefaultTopics(ctx context.Context, c broker.Config) error {
	return ApplyTopics(ctx, c, site.Site{})
}

// ApplyTopics creates the topics of a site that do not exist.
func ApplyTopics(ctx context.Context, c broker.Config, s site.Site) error {
	client, err := broker.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer client.Close()
	return broker.EnsureTopics(ctx, kadm.NewClient(client), s.Topics())
}
