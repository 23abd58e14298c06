package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/files"
	"weir.example/weir/internal/sink/influx"
	"weir.example/weir/internal/sink/mqtt"
	"weir.example/weir/internal/sink/post"
	"weir.example/weir/internal/sink/postgres"
	"weir.example/weir/internal/sink/printer"
	"weir.example/weir/internal/sink/sqlite"
)

// RunPipeline runs a pipeline, whose lookup joins read tables of PostgreSQL, and, beside it, the
// sinks of its tables outside of Kafka. A sink that fails retries by itself and never stops the
// pipeline. A run that comes to its end waits until its rows are delivered. status are those of
// SinkStatus.
func RunPipeline(ctx context.Context, c engine.Config, status []*sink.Status) (engine.Result, error) {
	return runPipeline(ctx, c, status, Outputs{os.Stdout, os.Stderr})
}

// Outputs are where tables with the connector print write.
type Outputs struct{ Stdout, Stderr io.Writer }

func runPipeline(ctx context.Context, c engine.Config, status []*sink.Status, out Outputs) (engine.Result, error) {
	sinks, err := sinksOf(c, status, out)
	if err != nil {
		return engine.Result{}, err
	}
	if c.Lookups == nil {
		c.Lookups = postgres.OpenLookups(c.Secrets)
	}
	delivering, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, s := range sinks {
		running.Go(func() { sink.Run(delivering, s) })
	}
	defer running.Wait()
	defer stop()
	result, err := runGenerated(ctx, c)
	if err != nil || ctx.Err() != nil {
		return result, err
	}
	for _, s := range sinks {
		err = errors.Join(err, sink.AwaitDelivered(ctx, s))
	}
	return result, err
}

// Run is RunPipeline for a pipeline that is registered with Pipeline.
func (a *Admin) Run(ctx context.Context, c engine.Config) (engine.Result, error) {
	a.mu.Lock()
	status := a.sinks[c.Status]
	a.mu.Unlock()
	return runPipeline(ctx, c, status, a.Outputs)
}

// sinksOf returns the sinks of a pipeline that is registered with Pipeline.
func (a *Admin) sinksOf(pipeline *engine.Status) func() []sink.Snapshot {
	return func() (all []sink.Snapshot) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, s := range a.sinks[pipeline] {
			all = append(all, s.Snapshot())
		}
		return all
	}
}

// SinkStatus returns a status for each table of a pipeline that is delivered to a target outside of
// Kafka.
func SinkStatus(p *plan.Program) (all []*sink.Status) {
	for _, t := range p.Deliveries() {
		all = append(all, sink.NewStatus(p.Name, t))
	}
	return all
}

func sinksOf(c engine.Config, status []*sink.Status, out Outputs) (all []sink.Config, err error) {
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	for i, t := range c.Program.Deliveries() {
		target, err := targetOf(c, t, out, log)
		if err != nil {
			return nil, err
		}
		s := sink.Config{
			Broker: c.Broker, Pipeline: c.Program.Name, Table: t, DeadLetters: c.Program.Settings.DeadLetterTopic, Target: target,
			SessionTimeout: c.SessionTimeout, Status: status[i], Logger: log,
		}
		switch d := t.Delivery.(type) {
		case *plan.JDBC:
			s.MaxRows, s.Interval = d.MaxRows, d.Interval
		case *plan.Files:
			s.MaxRows, s.MaxBytes, s.Interval = math.MaxInt32, d.Bytes, d.Interval
			if d.Bucket != nil {
				s.DeliverTimeout = uploadTimeout
			}
		case *plan.SQLite:
			s.MaxRows, s.Interval = d.MaxRows, d.Interval
		case *plan.Webhook:
			s.MaxRows, s.Interval = cmp.Or(d.MaxRows, post.MaxRows), d.Interval
		case *plan.MQTT:
			s.MaxRows, s.Interval = d.MaxRows, d.Interval
		case *plan.LineProtocol:
			s.MaxRows, s.Interval = d.MaxRows, d.Interval
		}
		all = append(all, s)
	}
	return all, nil
}

// uploadTimeout bounds the delivery of up to a gigabyte over a slow line.
const uploadTimeout = 15 * time.Minute

// targetOf returns the target of a table.
func targetOf(c engine.Config, t *plan.Table, out Outputs, log *slog.Logger) (sink.Target, error) {
	pipeline := c.Program.Name
	switch d := t.Delivery.(type) {
	case *plan.JDBC:
		return postgres.New(pipeline, t, c.Secrets, log), nil
	case *plan.Print:
		to := out.Stdout
		if d.Stderr {
			to = out.Stderr
		}
		return printer.New(c.Broker, pipeline, t, to, log), nil
	case *plan.Files:
		return files.New(pipeline, t, c.Secrets), nil
	case *plan.SQLite:
		return sqlite.New(pipeline, t), nil
	case *plan.Webhook:
		return post.New(c.Broker, pipeline, t, c.Secrets), nil
	case *plan.MQTT:
		return mqtt.New(c.Broker, pipeline, t, c.Secrets), nil
	case *plan.LineProtocol:
		return influx.New(c.Broker, pipeline, t, c.Secrets), nil
	default:
		return nil, fmt.Errorf("table %s: no sink delivers to a %T", t.Name, d)
	}
}
