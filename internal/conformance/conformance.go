// Package conformance runs the same SQL on Weir's engine and on Apache Flink, over the same topics
// of a real broker, and compares the results. It is the proof of "one file, two engines".
//
//	conformance.go  the two systems, and a pipeline with its test on both
//	script.go       a pipeline's file for one side: changes topics, brokers and the bounds of
//	                sources, never the query
//	flink.go        Flink's side: SQL Gateway and JobManager
//	gateway.go      sessions of the SQL Gateway
//	golden.go       Flink's recorded rows, and Weir's in-memory rows compared with them
//	compare.go      compares the rows of both sides: multisets of rows, or the final rows of an
//	                upsert table
//	expression.go   the scripts of expr/testdata, evaluated by Flink
//	refused.go      statements that both must reject
//	columns.go      tables over which expressions are evaluated, on both sides
//	dealing.go      rows distributed over partitions in several ways, by declared keys or not
//	types.go        types in the gateway's notation
//	facts.go        Flink's results of expressions, recorded in testdata/expressions
//	generate.go     expressions from templates and a seed; families.go has the templates
//	cases/          pipelines with their tests, in the format of weir test
package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/sqltest"
)

// Lab is a broker and a Flink cluster that uses it.
type Lab struct {
	Brokers []string
	Gateway string // http://host:port of the SQL Gateway
	Rest    string // http://host:port of the JobManager
}

// Outcome compares the results of a pipeline on both sides.
type Outcome struct {
	Tables []TableDiff
	Inputs int
}

// Run runs a pipeline over the inputs of its test on both sides. The names of its topics begin with
// name.
func (l *Lab) Run(ctx context.Context, file, test, name string) (*Outcome, error) {
	c, err := readCase(file, test)
	if err != nil {
		return nil, err
	}
	p, err := c.compile()
	if err != nil {
		return nil, err
	}
	inputs, err := sqltest.Records(p, test)
	if err != nil {
		return nil, err
	}
	return l.runOver(ctx, c.text, inputs, name)
}

// runOver runs a pipeline over records that are already assigned to partitions.
func (l *Lab) runOver(ctx context.Context, text string, inputs []*kgo.Record, name string) (out *Outcome, err error) {
	parsed := func() *sql.Script {
		s, _ := sql.Parse(text) // the caller has compiled it
		return s
	}
	onFlink, onWeir := newScript(parsed(), name, "flink", l.Brokers), newScript(parsed(), name, "weir", l.Brokers)
	program, err := plan.Compile(onWeir.text(), name)
	if err != nil {
		return nil, fmt.Errorf("compile with other topics: %w", err)
	}
	defer func() { err = errors.Join(err, l.deleteTopics(ctx, name)) }()
	if err := l.prepare(ctx, onWeir, onFlink, inputs, name); err != nil {
		return nil, fmt.Errorf("prepare topics: %w", err)
	}
	_, err = node.RunPipeline(ctx, engine.Config{
		Broker: broker.Config{Brokers: l.Brokers}, Program: program, Instances: []string{"conformance-" + name}, Logger: slog.New(slog.DiscardHandler),
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("run on weir: %w", err)
	}
	if err := l.runFlink(ctx, onFlink, name); err != nil {
		return nil, fmt.Errorf("run on Flink: %w", err)
	}
	out = &Outcome{Inputs: len(inputs)}
	for i, sink := range onWeir.sinks {
		diff, err := l.compare(ctx, program, sink, onFlink.sinks[i])
		if err != nil {
			return nil, err
		}
		out.Tables = append(out.Tables, diff)
	}
	return out, nil
}

// deleteTopics deletes the topics of a pipeline: a single broker with thousands of partitions takes
// ever longer to make the next ones available.
func (l *Lab) deleteTopics(ctx context.Context, name string) error {
	client, err := broker.Connect(ctx, broker.Config{Brokers: l.Brokers})
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	all, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(all.Names(), func(topic string) bool { return !strings.HasPrefix(topic, name+".") })
	deleted, err := admin.DeleteTopics(ctx, names...)
	if err != nil {
		return err
	}
	return deleted.Error()
}

// prepare creates the topics and writes the inputs. Input topics get as many partitions as the rows
// use, the others one.
func (l *Lab) prepare(ctx context.Context, weir, flink *script, inputs []*kgo.Record, name string) error {
	client, err := broker.Connect(ctx, broker.Config{Brokers: l.Brokers}, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(50))
	if err != nil {
		return err
	}
	defer client.Close()
	partitions := int32(1)
	for _, r := range inputs {
		partitions = max(partitions, r.Partition+1)
	}
	admin := kadm.NewClient(client)
	create := func(partitions int32, policy string, topics ...string) error {
		forever := "-1" // the readings' timestamps are old
		made, err := admin.CreateTopics(ctx, partitions, 1, map[string]*string{"retention.ms": &forever, "cleanup.policy": &policy}, topics...)
		if err != nil {
			return err
		}
		return made.Error()
	}
	if err := create(partitions, "delete", weir.sources...); err != nil {
		return err
	}
	for _, s := range slices.Concat(weir.sinks, flink.sinks) {
		policy := "delete"
		if s.upsert {
			policy = "compact"
		}
		if err := create(1, policy, s.topic); err != nil {
			return err
		}
	}
	for _, r := range inputs {
		r.Topic = name + "." + r.Topic
	}
	return errors.Join(client.ProduceSync(ctx, inputs...).FirstErr())
}
