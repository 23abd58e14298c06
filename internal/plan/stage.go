package plan

import (
	"errors"
	"fmt"
	"slices"
)

// Stage is the part of a pipeline that runs on one partition independently of the others (a
// sub-topology). It runs as one task per partition of its input topics.
type Stage struct {
	Name      string
	Relations []*Relation // inputs first
	Inputs    []*Relation // scans, and exchanges that other stages write
	Outputs   []*Relation // inserts, and exchanges that this stage writes
	// Stateful is true if its tasks keep state between rows.
	Stateful bool
	// Copartitioned is true if rows of several topics are matched by key: the topics must have the
	// same number of partitions.
	Copartitioned bool
	Changelog     string // topic of its tasks' state
}

// Numbers of entries in a task's state: those below firstState are reserved for the engine; each
// stateful relation has StatesOf of them.
const (
	firstState = 16
	StatesOf   = 4
)

// cut divides the relations into stages and numbers their state.
func (p *planner) cut() error {
	of := make(map[*Relation]*Stage)
	join := func(r *Relation, s *Stage) {
		old := of[r]
		if old == s {
			return
		}
		of[r] = s
		if old != nil {
			for other, stage := range of {
				if stage == old {
					of[other] = s
				}
			}
		}
	}
	count := 0
	p.program.visit(func(r *Relation) {
		r.ID = count
		count++
		if of[r] == nil {
			of[r] = &Stage{}
		}
		if _, exchange := r.Op.(*Exchange); exchange {
			return
		}
		for _, in := range r.Inputs {
			join(in, of[r])
		}
	})
	exchanges := 0
	states := make(map[*Stage]int)
	p.program.visit(func(r *Relation) {
		s := of[r]
		if s.Name == "" {
			s.Name = fmt.Sprintf("stage%d", len(p.program.Stages)+1)
			p.program.Stages = append(p.program.Stages, s)
		}
		r.Stage = s
		s.Relations = append(s.Relations, r)
		switch op := r.Op.(type) {
		case *Scan:
			s.Inputs = append(s.Inputs, r)
		case *Exchange:
			exchanges++
			op.Topic = fmt.Sprintf("%s.repartition%d", p.program.Name, exchanges)
			s.Inputs = append(s.Inputs, r)
			from := of[r.Inputs[0]]
			from.Outputs = append(from.Outputs, r)
			from.Stateful = true // its watermark
		case *Insert:
			s.Outputs = append(s.Outputs, r)
		}
		if r.Op.Stateful() {
			r.State = uint16(firstState + StatesOf*states[s]) //nolint:gosec // small number of relations
			states[s]++
			s.Stateful = true
		}
	})
	for _, s := range p.program.Stages {
		s.Copartitioned = len(s.Inputs) > 1 && states[s] > 0
		if s.Stateful {
			s.Changelog = p.program.changelog(s.Name)
		}
	}
	return p.checkSessions()
}

// checkSessions rejects sessions that can't be assembled because they are read before their end.
func (p *planner) checkSessions() error {
	var err error
	p.program.visit(func(r *Relation) {
		a, ok := r.Op.(*Aggregate)
		if !ok || a.Window == nil || a.Window.Kind != Session || err != nil {
			return
		}
		if a.attached(r.Inputs[0]) {
			return // an operator below has assembled the sessions
		}
		if !a.Window.Sliced {
			err = errors.New("a SESSION window must be grouped directly: a view over it that is read twice, or an expression over its start or end below the GROUP BY, is not supported")
		}
	})
	return err
}

// States returns the relations that keep state, inputs first.
func (s *Stage) States() (all []*Relation) {
	for _, r := range s.Relations {
		if r.State > 0 {
			all = append(all, r)
		}
	}
	return all
}

// Topics returns the topics that the stage reads, without duplicates.
func (s *Stage) Topics() []string {
	var all []string
	for _, in := range s.Inputs {
		topic := in.Topic()
		if !slices.Contains(all, topic) {
			all = append(all, topic)
		}
	}
	return all
}
