package weir

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
)

// A Pipeline is a compiled SQL script. Its methods may be called concurrently.
type Pipeline struct {
	sql     string
	program *plan.Program // never run: each run compiles its own

	mu      sync.Mutex
	running bool
	status  *engine.Status // of the current or last run; nil before the first
	sinks   []*sink.Status // likewise
}

// A CompileOption changes how Compile plans a script.
type CompileOption func(*compileOptions)

type compileOptions struct{ name string }

// WithName names a pipeline whose script does not SET 'pipeline.name'. The name identifies the
// pipeline's state: its consumer group, topics and transactional ids are named after it. Two
// pipelines on one cluster must not share a name, and a renamed pipeline starts over.
func WithName(name string) CompileOption {
	return func(o *compileOptions) { o.name = name }
}

// Compile parses and plans a script. It needs no broker.
//
// Without WithName and SET 'pipeline.name', the pipeline is named after the table that its first
// INSERT writes.
//
// An error with a position in the script is a *SyntaxError: invalid or unsupported SQL, unknown
// names, mismatched types, options with invalid values.
func Compile(sql string, options ...CompileOption) (*Pipeline, error) {
	var o compileOptions
	for _, option := range options {
		option(&o)
	}
	program, err := compile(sql, o.name)
	if err != nil {
		return nil, compileError(sql, err)
	}
	return &Pipeline{sql: sql, program: program}, nil
}

// unnamed is the placeholder name of a pipeline until its script is bound.
const unnamed = "unnamed"

func compile(sql, name string) (*plan.Program, error) {
	if name != "" {
		return plan.Compile(sql, name)
	}
	program, err := plan.Compile(sql, unnamed)
	if err != nil || program.Name != unnamed {
		return program, err
	}
	return plan.Compile(sql, program.Sinks[0].Op.(*plan.Insert).Table.Name) //nolint:forcetypeassert // a sink is an INSERT
}

// Name returns the pipeline's name; see WithName.
func (p *Pipeline) Name() string { return p.program.Name }

// Explain describes the plan as text: relations, stages, topics and state, as weir explain prints
// it.
func (p *Pipeline) Explain() string { return p.program.Text() }

// ExplainSVG draws the plan as an SVG document.
func (p *Pipeline) ExplainSVG() string { return p.program.SVG() }

// Run executes the pipeline in this process. It returns nil when ctx is done, having committed or
// aborted the open transaction (see Options.StopTimeout); when every source is bounded
// ('scan.bounded.mode' = 'latest-offset') and has ended; and, with Options.UntilEnd, once
// everything that the sources held at the start has been processed. The next run resumes there. A
// run that comes to its end waits until the rows of tables outside of Kafka are delivered; a target
// that is down stops nothing else.
//
// Run retries errors that may be transient, such as a broker restart. For the errors it returns,
// see Classify; a *StateChangedError means that the pipeline's state was created by different SQL.
// The Result counts what was committed, whether or not an error is returned.
//
// A Pipeline supports one run at a time. To use more cores, set Options.Workers; to use more
// machines, run the same SQL on each: all processes share the partitions of the sources.
func (p *Pipeline) Run(ctx context.Context, options Options) (Result, error) {
	result, err := p.run(ctx, options)
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) && !leftOpen(err) {
		return result, nil
	}
	return result, runError(p.Name(), err)
}

func (p *Pipeline) run(ctx context.Context, o Options) (_ Result, err error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := o.Validate(); err != nil {
		return Result{}, err
	}
	program, err := plan.Compile(p.sql, p.Name())
	if err != nil { // it has compiled before
		return Result{}, err
	}
	kafka, err := o.kafka(program)
	if err != nil {
		return Result{}, err
	}
	status := engine.NewStatus(program)
	sinks := node.SinkStatus(program)
	if err := p.start(status, sinks); err != nil {
		return Result{}, err
	}
	defer p.stop()
	at, err := kafka.Attach(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, at.Close(ctx, nil)) }()
	if at.Embedded() { // so that pipelines reading the topics of weir produce can start first
		if err := node.ApplyDefaultTopics(ctx, at.Broker); err != nil {
			return Result{}, err
		}
	}
	instances, free, err := node.TakeInstances(engine.Group(program), o.Instance, max(o.Workers, 1))
	if err != nil {
		return Result{}, err
	}
	defer free()
	done, err := node.RunPipeline(ctx, o.engine(at.Broker, program, instances, status), sinks)
	return resultOf(done), err
}

func (o *Options) engine(at broker.Config, program *plan.Program, instances []string, status *engine.Status) engine.Config {
	return engine.Config{
		Broker: at, Program: program, Instances: instances, Status: status, Logger: o.Logger,
		CommitInterval: o.CommitInterval, TransactionTimeout: o.TransactionTimeout, SessionTimeout: o.SessionTimeout, StopTimeout: o.StopTimeout,
		Compression: o.Compression, StateDir: o.stateDir(), UntilEnd: o.UntilEnd,
	}
}

func (p *Pipeline) start(status *engine.Status, sinks []*sink.Status) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		return refuse(errors.New("already running: set Options.Workers to run it in parallel"))
	}
	p.running, p.status, p.sinks = true, status, sinks
	return nil
}

func (p *Pipeline) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
}

// Status returns the status of the current run, or of the last one. Before the first run only
// Pipeline is set.
func (p *Pipeline) Status() Status {
	p.mu.Lock()
	status, sinks, running := p.status, p.sinks, p.running
	p.mu.Unlock()
	if status == nil {
		return Status{Pipeline: p.Name()}
	}
	return statusOf(status.Snapshot(), sinks, running)
}
