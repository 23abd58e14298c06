package node

import (
	"context"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/generate"
)

// runGenerated runs a pipeline and, beside it, the generators of its tables. The pipeline ends with
// the first of them that fails.
func runGenerated(ctx context.Context, c engine.Config) (result engine.Result, err error) {
	tables := c.Program.Generated()
	if len(tables) == 0 {
		return engine.Run(ctx, c)
	}
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c.Generated = &engine.Generated{}
	var generators []generate.Config
	for _, t := range tables {
		g := generate.Config{Broker: c.Broker, Program: c.Program, Table: t, StopTimeout: c.StopTimeout, SessionTimeout: c.SessionTimeout, Logger: log.With("pipeline", c.Program.Name, "table", t.Name)}
		if err := generate.Prepare(ctx, g); err != nil {
			return engine.Result{}, err
		}
		generators = append(generators, g)
	}
	all, ctx := errgroup.WithContext(ctx)
	generating, stop := context.WithCancel(ctx)
	defer stop()
	for _, g := range generators {
		all.Go(func() error {
			return generate.Run(generating, g, func(ends map[int32]int64) { c.Generated.End(g.Table.Kafka.Topic, ends) })
		})
		all.Go(func() error {
			generate.Purge(generating, g, engine.Group(c.Program))
			return nil
		})
	}
	all.Go(func() (err error) {
		defer stop()
		result, err = engine.Run(ctx, c)
		return err
	})
	return result, all.Wait()
}
