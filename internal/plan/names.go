package plan

import (
	"fmt"
	"slices"
)

// Names are the names and numbers under which a plan's state is stored: those of its stages and
// exchanges are parts of topic names, those of relations are in the keys of a changelog.
type Names struct {
	Stages []StageNames // in the plan's order
}

// StageNames are the names and numbers of a stage.
type StageNames struct {
	Stage     string
	Exchanges []string // topics of the exchanges that it reads
	States    []uint16 // of its stateful relations
}

// Named returns a copy of a plan with other names and numbers. It reports false if there are more
// or fewer of them than the plan has.
func (p *Program) Named(n Names) (*Program, bool) {
	if len(n.Stages) != len(p.Stages) {
		return nil, false
	}
	for i, s := range p.Stages {
		if len(n.Stages[i].Exchanges) != len(s.exchanges()) || len(n.Stages[i].States) != len(s.States()) {
			return nil, false
		}
	}
	return p.named(n), true
}

// names returns the names and numbers of a plan.
func (p *Program) names() (n Names) {
	for _, s := range p.Stages {
		names := StageNames{Stage: s.Name}
		for _, x := range s.exchanges() {
			names.Exchanges = append(names.Exchanges, x.Topic())
		}
		for _, r := range s.States() {
			names.States = append(names.States, r.State)
		}
		n.Stages = append(n.Stages, names)
	}
	return n
}

// positional reports whether a plan has these names and numbers already.
func (n Names) positional(p *Program) bool {
	return slices.EqualFunc(n.Stages, p.names().Stages, func(a, b StageNames) bool {
		return a.Stage == b.Stage && slices.Equal(a.Exchanges, b.Exchanges) && slices.Equal(a.States, b.States)
	})
}

// named copies the relations and stages of a plan, because others may be reading them.
func (p *Program) named(n Names) *Program {
	copied := *p
	relations, stages := make(map[*Relation]*Relation), make(map[*Stage]*Stage)
	for _, s := range p.Stages {
		c := *s
		stages[s] = &c
		for _, r := range s.Relations {
			c := *r
			if x, ok := r.Op.(*Exchange); ok {
				exchange := *x
				c.Op = &exchange
			}
			relations[r] = &c
		}
	}
	all := func(of []*Relation) []*Relation {
		mapped := make([]*Relation, len(of))
		for i, r := range of {
			mapped[i] = relations[r]
		}
		return mapped
	}
	for r, c := range relations {
		c.Inputs, c.Stage = all(r.Inputs), stages[r.Stage]
	}
	copied.Sinks, copied.Stages = all(p.Sinks), make([]*Stage, len(p.Stages))
	for i, s := range p.Stages {
		c := stages[s]
		copied.Stages[i] = c
		c.Relations, c.Inputs, c.Outputs = all(s.Relations), all(s.Inputs), all(s.Outputs)
		c.Name = n.Stages[i].Stage
		if c.Stateful {
			c.Changelog = p.changelog(c.Name)
		}
		for k, x := range c.exchanges() {
			x.Op.(*Exchange).Topic = n.Stages[i].Exchanges[k] //nolint:forcetypeassert // an exchange
		}
		for k, r := range c.States() {
			r.State = n.Stages[i].States[k]
		}
	}
	return &copied
}

// number names what is kept as in the running plan. Whatever is new has its name by position, or
// the first free one if that is in use.
func (m *matcher) number() (n Names) {
	stages, topics := make(map[string]bool), make(map[string]bool)
	for _, s := range m.running.Stages {
		if s.Stateful {
			stages[s.Name] = true
		}
		for _, x := range s.exchanges() {
			topics[x.Topic()] = true
		}
	}
	next := func(used map[string]bool, preferred, format string) string {
		name := preferred
		for i := 1; used[name]; i++ {
			name = fmt.Sprintf(format, i)
		}
		used[name] = true
		return name
	}
	n = m.planned.names()
	for i, s := range m.planned.Stages {
		was := m.stagesBack[s]
		if was != nil {
			n.Stages[i].Stage = was.Name
		} else {
			n.Stages[i].Stage = next(stages, s.Name, "stage%d")
		}
		for k, x := range s.exchanges() {
			if old := m.exchanges.from[x]; old != nil {
				n.Stages[i].Exchanges[k] = old.Topic()
			} else {
				n.Stages[i].Exchanges[k] = next(topics, x.Topic(), m.planned.Name+".repartition%d")
			}
		}
		m.numberStates(s, was, n.Stages[i].States)
	}
	return n
}

// numberStates numbers the stateful relations of a stage; was is the stage whose changelog it
// keeps, nil if it is new.
func (m *matcher) numberStates(s, was *Stage, numbers []uint16) {
	used := make(map[uint16]bool)
	if was != nil {
		for _, r := range was.Relations {
			used[r.State] = true
		}
	}
	for i, r := range s.States() {
		if old := m.relations.from[r]; old != nil {
			numbers[i] = old.State
		} else {
			for n := uint16(firstState); used[numbers[i]]; n += StatesOf {
				numbers[i] = n
			}
			used[numbers[i]] = true
		}
	}
}
