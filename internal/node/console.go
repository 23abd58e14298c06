package node

import (
	"context"
	"errors"

	"weir.example/weir/internal/console"
	"weir.example/weir/internal/registry"
)

// Ready is what a node tells when the flow is about to start.
type Ready struct {
	Broker    string
	Console   string // URL; "" where there is none
	NoConsole error  // why, where one was wanted

	Registry   string // URL; "" where there is none
	NoRegistry error  // why, where one was wanted
}

// openConsole opens the console that the configuration asks for; nil where it asks for none, or its
// address is taken and it is no more than welcome.
func (cfg *Config) openConsole(ctx context.Context, kafka *Attachment, meter *meter, runs ...console.Pipeline) (page *console.Console, busy, err error) {
	if cfg.Console == nil {
		return nil, nil, nil
	}
	c := *cfg.Console
	c.Broker, c.Logger = kafka.Broker, cfg.Logger
	c.Site = cfg.Site
	if len(cfg.Registry.URLs) > 0 {
		if c.Registry, err = registry.NewClient(cfg.Registry); err != nil {
			return nil, nil, err
		}
	}
	if cfg.Alerts != nil {
		c.Silences = cfg.Alerts.Silences
	}
	c.Pipelines = func() []console.Pipeline { return runs }
	c.Flow = func() console.Flow {
		s := meter.look()
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
