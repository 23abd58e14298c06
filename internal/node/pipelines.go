package node

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"weir.example/weir/internal/alert"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/site"
)

// Pipelines is a set of pipelines that run in this process without a source of readings.
type Pipelines struct {
	Programs    []*plan.Program
	Engine      engine.Config // of each pipeline; Program, Instances, Status and metrics are filled in
	Instance    string        // name of this process in transactional ids; default: host name and a free number
	Parallelism int           // workers per pipeline
	Site        site.Site     // whose alerts they write; default the default site
	Alerts      *alert.Config // receivers of the pipelines' alerts; nil for none
	Admin       *Admin
}

// Run runs the pipelines and delivers their alerts until all pipelines have finished, ctx is done
// or one fails. It returns the result of each program, in order.
func (p *Pipelines) Run(ctx context.Context) ([]engine.Result, error) {
	results := make([]engine.Result, len(p.Programs))
	all, ctx := errgroup.WithContext(ctx)
	delivering, stop := context.WithCancel(ctx)
	defer stop()
	all.Go(func() error {
		return p.Admin.Deliver(delivering, p.Engine.Broker, p.Site, p.Alerts, p.Programs, p.Engine.StopTimeout, p.Engine.Logger)
	})
	all.Go(func() error {
		defer stop() // without pipelines there are no more alerts
		pipelines, ctx := errgroup.WithContext(ctx)
		for i, program := range p.Programs {
			pipelines.Go(func() (err error) {
				results[i], err = p.run(ctx, program)
				return err
			})
		}
		return pipelines.Wait()
	})
	return results, all.Wait()
}

func (p *Pipelines) run(ctx context.Context, program *plan.Program) (engine.Result, error) {
	c, free, err := p.Admin.prepare(p.Engine, program, p.Instance, p.Parallelism)
	if err != nil {
		return engine.Result{}, err
	}
	defer free()
	result, err := p.Admin.Run(ctx, c)
	if err != nil {
		return engine.Result{}, fmt.Errorf("pipeline %s: %w", program.Name, err)
	}
	return result, nil
}

// prepare completes the configuration of a pipeline with worker names, status and metrics. Call
// free when the pipeline has stopped.
func (a *Admin) prepare(c engine.Config, program *plan.Program, instance string, workers int) (prepared engine.Config, free func(), err error) {
	c.Program = program
	c.Instances, free, err = TakeInstances(engine.Group(program), instance, workers)
	if err != nil {
		return engine.Config{}, nil, err
	}
	return a.Pipeline(c), free, nil
}

// consumers returns the pipelines of the node, the main job's first. Call free when they have
// stopped.
func (cfg *Config) consumers(kafka broker.Config, stats *plan.Program, meter *meter) (all []engine.Config, free func(), err error) {
	var taken []func()
	free = func() {
		for _, f := range taken {
			f()
		}
	}
	common := engine.Config{
		Broker: kafka, StateDir: cfg.StateDir, CommitInterval: cfg.CommitInterval, StopTimeout: cfg.StopTimeout,
		Compression: cfg.Compression, Logger: cfg.Logger,
	}
	for _, program := range append([]*plan.Program{stats}, cfg.Pipelines...) {
		c, done, err := cfg.Admin.prepare(common, program, "", 1)
		if err != nil {
			free()
			return nil, nil, err
		}
		taken = append(taken, done)
		if program == stats {
			c.OnCommit = func(c engine.Commit) { meter.consumed(c.Records, c.DeadLetters, c.Latencies) }
		}
		all = append(all, c)
	}
	return all, free, nil
}
