package engine

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
)

// Comparison is what a start of a pipeline with other SQL would do with its state.
type Comparison struct {
	Pipeline string `json:"pipeline"`
	Accepted bool   `json:"accepted"`
	SameSQL  bool   `json:"same_sql"`
	// Committed is false if the pipeline has no state yet: any SQL is accepted then.
	Committed bool        `json:"committed"`
	Kept      []string    `json:"kept"` // descriptions of state
	New       []string    `json:"new"`  // starts without state
	Lost      []LostState `json:"lost"`
}

// LostState is state that the new SQL does not continue. The start is refused because of it.
type LostState struct {
	State  string `json:"state"`
	Stage  string `json:"stage,omitempty"` // of the running plan
	Reason string `json:"reason,omitempty"`
}

// Compare reports what a start of the pipeline with this plan would keep of its state. It only
// reads. It does not check what Run checks apart from the plan: topics, their partitions,
// positions.
func Compare(ctx context.Context, at broker.Config, program *plan.Program) (*Comparison, error) {
	client, err := broker.Connect(ctx, at)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	p := newPipeline(Config{Broker: at, Program: program})
	if err := p.bind(ctx, admin); err != nil {
		return nil, err
	}
	if p.running == nil {
		return nil, fmt.Errorf("pipeline %s has not run here: topic %s has no plan", program.Name, p.manifestTopic())
	}
	c := &Comparison{Pipeline: program.Name, SameSQL: secret.Redact(p.running.SQL) == secret.Redact(program.SQL), Kept: []string{}, New: []string{}, Lost: []LostState{}}
	if c.Committed, err = p.hasCommitted(ctx, admin); err != nil {
		return nil, err
	}
	report := p.compare(p.running)
	c.Accepted = report == "" || !c.Committed
	switch {
	case !c.Committed:
		for _, s := range stateful(program) {
			c.New = append(c.New, s.Signature())
		}
	case p.continued != nil && (report != "" || len(p.continued.Lost) == 0):
		for _, r := range p.continued.Kept {
			c.Kept = append(c.Kept, r.Signature())
		}
		for _, r := range p.continued.New {
			c.New = append(c.New, r.Signature())
		}
		for _, l := range p.continued.Lost {
			c.Lost = append(c.Lost, LostState{l.Does, l.Stage, l.Why})
		}
	case report == "": // by position
		for _, s := range stateful(program) {
			c.Kept = append(c.Kept, s.Signature())
		}
	default:
		const reason = "this version of Weir can't plan the SQL that is running, so states are compared by position"
		for _, s := range p.running.Stages {
			for _, state := range s.State {
				c.Lost = append(c.Lost, LostState{state.Does, s.Name, reason})
			}
		}
	}
	return c, nil
}

// stateful returns the relations of a plan with state.
func stateful(p *plan.Program) (all []*plan.Relation) {
	for _, s := range p.Stages {
		all = append(all, s.States()...)
	}
	return all
}
