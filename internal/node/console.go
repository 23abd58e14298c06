package node

import (
	"context"
	"errors"

	"weir.example/weir/internal/console"
	"weir.example/weir/internal/registry"
)

// Ready describes a node whose flow is about to start.
type Ready struct {
	Broker    string
	Console   string // URL; "" if the console is off
	NoConsole error  // why it is off although one was requested

	Registry   string // URL; "" if the registry is off
	NoRegistry error  // why it is off although one was requested

	Devices []string // URLs for readings of devices
	Sources []string // URLs of the MQTT brokers whose messages are taken
	Fleet   bool     // devices are simulated
}

// openConsole opens the console. It returns nil if none is configured, or if it is optional and its
// address is in use; busy then reports that.
func (cfg *Config) openConsole(ctx context.Context, kafka *Attachment, meter *meter, devices *Devices, running ...console.Pipeline) (page *console.Console, busy, err error) {
	if cfg.Console == nil {
		return nil, nil, nil
	}
	c := *cfg.Console
	c.Broker, c.Logger = kafka.Broker, cfg.Logger
	web := cfg.Admin.Web
	c.Site, c.Hosts, c.Guard, c.Proxies, c.TLS, c.Insecure, c.Trail = cfg.Site, web.Hosts, web.Guard, web.Proxies, web.TLS, web.Insecure, web.Trail
	if kafka.Embedded() {
		c.AuditDir = cfg.Kafka.DataDir
	}
	if len(cfg.Registry.URLs) > 0 {
		if c.Registry, err = registry.NewClient(cfg.Registry); err != nil {
			return nil, nil, err
		}
	}
	if cfg.Alerts != nil {
		c.Silences = cfg.Alerts.Silences
	}
	if devices != nil {
		c.Ingest = devices.State
	}
	c.Pipelines = func() []console.Pipeline { return running }
	c.Flow = func() console.Flow {
		s := meter.snapshot()
		return console.Flow{
			Elapsed: s.Elapsed, Produced: s.Produced, ProducedRate: s.ProducedRate, Consumed: s.Consumed, ConsumedRate: s.ConsumedRate,
			Transactions: s.Transactions, DeadLetters: s.DeadLetters, P50: s.P50, P99: s.P99,
		}
	}
	page, err = console.Open(ctx, c)
	if errors.Is(err, console.ErrBusy) {
		return nil, err, nil
	}
	return page, nil, err
}
