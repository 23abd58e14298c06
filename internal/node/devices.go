package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sync/errgroup"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/console"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/ingest"
	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/mqtt"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/ingest/subscribe"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/tlsconf"
)

// DevicesConfig configures where devices send readings.
type DevicesConfig struct {
	Ingest   *ingest.Config
	DataDir  string          // for the spool, unless Ingest names a directory, and for MQTT sessions
	Insecure bool            // also at an address that other machines can reach without a token
	Guard    *guard.Guard    // who may use the MQTT broker; default: the users of DataDir
	TLS      *tlsconf.Server // of the MQTT broker, unless Ingest has one; nil: none

	// Prepare creates the topics that are not there yet; nil if they are. It is repeated until
	// Kafka can be reached.
	Prepare func(context.Context) error
}

// Devices accepts readings of devices, and sends them to Kafka.
type Devices struct {
	spool    *spool.Spool
	intake   *intake.Intake
	server   *ingest.Server // nil: none
	mqtt     *mqtt.Broker   // nil: none
	sources  subscribe.All
	source   produce.Source
	producer produce.Config
	prepare  func(context.Context) error // see DevicesConfig
	log      *slog.Logger
}

// Devices opens the spool and begins to listen. base has the settings of the producer that do not
// depend on its source.
func (a *Admin) Devices(ctx context.Context, c *DevicesConfig, base produce.Config, at site.Site, log *slog.Logger) (*Devices, error) {
	kept := c.Ingest.Mapping().Topics()
	for _, t := range at.Topics() {
		if slices.Contains(kept, t.Name) {
			return nil, fmt.Errorf("messages cannot be kept in the topic %s, which has another purpose: choose another name for to", t.Name)
		}
	}
	s, err := c.Ingest.OpenSpool(c.DataDir, spool.Config{Logger: log})
	if err != nil {
		return nil, err
	}
	in := intake.New(c.Ingest.Mapping(), s)
	d := &Devices{spool: s, intake: in, log: log, prepare: c.Prepare, source: produce.Named(s.Source(), at.SourceName(s.ID()))}
	if c.Ingest.HTTP.Listen != "" {
		if d.server, err = ingest.Listen(c.Ingest, in, c.Insecure, log); err != nil {
			return nil, errors.Join(err, s.Close()) // nothing was appended
		}
	}
	who := c.Guard
	if who == nil && c.Ingest.MQTT.Listen != "" {
		if who, err = guard.Join(ctx, guard.Config{Dir: c.DataDir, ClientCerts: c.Ingest.MQTT.ClientCA != ""}); err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	d.mqtt, err = c.Ingest.ListenMQTT(c.DataDir, mqtt.Config{Intake: in, Guard: who, TLS: c.TLS, Insecure: c.Insecure, Logger: log})
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	for i := range c.Ingest.Subscribe {
		from := subscribe.New(&c.Ingest.Subscribe[i], in, log)
		d.sources = append(d.sources, from)
		a.Part("messages of "+from.Name(), func(context.Context) error { return from.Failing() })
	}
	a.Registry.MustRegister(s, in, d.sources)
	if d.mqtt != nil {
		a.Registry.MustRegister(d.mqtt)
		a.Part("mqtt", func(context.Context) error { return d.mqtt.Err() })
	}
	a.Part("spool", func(context.Context) error { return s.Stats().Failing })
	observe := base.OnCommit
	base.OnCommit = func(t produce.Commit) {
		s.Committed(t.Position)
		if observe != nil {
			observe(t)
		}
	}
	base.Rate, base.Messages = 0, kept
	d.producer = a.Producer(base, d.source)
	return d, nil
}

// close ends what has not begun to run.
func (d *Devices) close() (err error) {
	if d.server != nil {
		err = d.server.Close()
	}
	return errors.Join(err, d.spool.Close())
}

// URLs returns the addresses at which devices send readings: http:// and mqtt:// or mqtts://.
func (d *Devices) URLs() (all []string) {
	if d == nil {
		return nil
	}
	if d.server != nil {
		all = append(all, "http://"+d.server.Addr())
	}
	if d.mqtt != nil {
		all = append(all, d.mqtt.URL())
	}
	return all
}

// Sources returns the addresses of the MQTT brokers whose messages are taken.
func (d *Devices) Sources() (all []string) {
	if d == nil {
		return nil
	}
	for _, from := range d.sources {
		all = append(all, from.URL())
	}
	return all
}

// State returns what the console shows.
func (d *Devices) State() console.Ingest {
	s := console.Ingest{Addresses: d.URLs(), Spool: d.spool.Stats(), Protocols: d.intake.Counts(), Problems: []string{}}
	s.Samples, s.Rejected, s.Reasons = d.intake.Samples()
	if d.mqtt != nil {
		stats := d.mqtt.Stats()
		s.Broker = &stats
		if err := d.mqtt.Err(); err != nil {
			s.Problems = append(s.Problems, "MQTT sessions: "+err.Error())
		}
	}
	for _, from := range d.sources {
		source := console.IngestSource{Name: from.Name()}
		if err := from.Failing(); err != nil {
			source.Error = err.Error()
		}
		s.Sources = append(s.Sources, source)
	}
	if err := s.Spool.Failing; err != nil {
		s.Problems = append(s.Problems, "spool: "+err.Error())
	}
	return s
}

// Run accepts and sends readings until ctx is done. It must be called, and closes the spool.
func (d *Devices) Run(ctx context.Context, encoding produce.Encoding) (err error) {
	d.producer.Encoding = encoding
	flow, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, d.spool.GiveUp)() // so that nobody waits for a producer that stops
	if d.server != nil {
		flow.Go(func() error { return d.server.Run(ctx) })
	}
	if d.mqtt != nil {
		flow.Go(func() error { return d.mqtt.Run(ctx) })
	}
	for _, from := range d.sources {
		flow.Go(func() error { return from.Run(ctx) })
	}
	flow.Go(func() error {
		if err := d.awaitTopics(ctx); err != nil {
			return fmt.Errorf("create topics: %w", err)
		}
		_, err := produce.Run(ctx, d.producer, d.source)
		return err
	})
	err = flow.Wait()
	if closed := d.spool.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("readings of devices: %w", err)
	}
	return nil
}

// awaitTopics creates the topics once Kafka can be reached. Meanwhile, what devices send stays on
// the disk.
func (d *Devices) awaitTopics(ctx context.Context) error {
	wait := retry.Backoff()
	for {
		err := d.createTopics(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if !broker.IsPassing(err) {
			return err
		}
		d.log.Warn("Kafka can't be reached yet; what devices send stays on the disk", "err", err)
		if retry.Sleep(ctx, wait.NextBackOff()) != nil {
			return nil
		}
	}
}

// createTopics creates the topics that do not exist: those of the site, unless they are there
// already, and those of messages.
func (d *Devices) createTopics(ctx context.Context) error {
	if d.prepare != nil {
		if err := d.prepare(ctx); err != nil {
			return err
		}
	}
	if len(d.producer.Messages) == 0 {
		return nil
	}
	client, err := broker.Connect(ctx, d.producer.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	var topics []broker.Topic
	for _, name := range d.producer.Messages {
		topics = append(topics, broker.Topic{Name: name, Partitions: 4, Retention: "7d"})
	}
	return broker.EnsureTopics(ctx, kadm.NewClient(client), topics)
}

// Left returns the number of readings and dead letters that are on the disk and not in Kafka.
func (d *Devices) Left() int64 { return d.spool.Stats().Items }
