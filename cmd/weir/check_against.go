package main

import (
	"context"
	"fmt"
	"io"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
)

// againstReport compares a file with the state of a pipeline.
type againstReport struct {
	*engine.Comparison
	Note string `json:"note,omitempty"`
}

// checkAgainst compares a plan with the state of the pipeline of this name. A file that sets no
// name is compared as if it had this one.
func checkAgainst(ctx context.Context, at broker.Config, program *plan.Program, name string) (*againstReport, error) {
	if err := at.Validate(); err != nil {
		return nil, usage(err)
	}
	note := ""
	if program.Name != name {
		note = fmt.Sprintf("a start of this file runs pipeline %s, which does not use the state of %s: SET 'pipeline.name' = '%[2]s'", program.Name, name)
		named, err := plan.Compile(program.SQL, name)
		if err != nil {
			return nil, err
		}
		if named.Name != name {
			return nil, fmt.Errorf("pipeline %s has another name than %s and would not use its state: SET 'pipeline.name' = '%[2]s'", program.Name, name)
		}
		program = named
	}
	c, err := engine.Compare(ctx, at, program)
	if err != nil {
		return nil, err
	}
	return &againstReport{c, note}, nil
}

func (r *againstReport) print(w io.Writer, file string) {
	if r == nil {
		return
	}
	switch {
	case !r.Committed:
		fmt.Fprintf(w, "%s: pipeline %s has committed nothing: a start is accepted, without state\n", file, r.Pipeline)
	case !r.Accepted:
		fmt.Fprintf(w, "%s: a start would be refused, because state of pipeline %s would be lost\n", file, r.Pipeline)
	case r.SameSQL:
		fmt.Fprintf(w, "%s: pipeline %s last ran with this SQL: a start continues its state\n", file, r.Pipeline)
	default:
		fmt.Fprintf(w, "%s: a start continues the state of pipeline %s; rows that were read before are not computed again\n", file, r.Pipeline)
	}
	for _, s := range r.Kept {
		fmt.Fprintf(w, "  kept: %s\n", s)
	}
	for _, l := range r.Lost {
		fmt.Fprintf(w, "  lost: %s (%s)\n        %s\n", l.State, l.Stage, l.Reason)
	}
	for _, s := range r.New {
		fmt.Fprintf(w, "  new:  %s: starts without state\n", s)
	}
	if r.Note != "" {
		fmt.Fprintf(w, "%s: %s\n", file, r.Note)
	}
}
