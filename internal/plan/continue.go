package plan

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Continuation is what a plan keeps of the state of a running one.
type Continuation struct {
	// Program is the plan with the names and numbers under which the running plan stores what is
	// kept. Whatever is new has names and numbers that the running plan does not use. It is the
	// plan itself if those are the same, and nil if anything is lost.
	Program *Program
	Kept    []*Relation // stateful relations of the new plan with state in the running one
	New     []*Relation // stateful relations of the new plan that start without state
	Lost    []Lost      // upstream first
	// Stages maps each stateful stage of Program that keeps its changelog to the running plan's.
	Stages map[*Stage]*Stage
}

// Lost is state of the running plan that the new one can't read.
type Lost struct {
	Stage string // name in the running plan
	Does  string // the signature of its relation, or a description of what the stage records
	Why   string
}

// Continue finds out what p can keep of the state of a running plan, whose stages, exchanges and
// relations have the names and numbers under which they are stored.
//
// The state of a relation is found by its signature and the sources of its rows, not by its place:
// operators may be added before and after it, and INSERTs may be reordered. If several relations
// match, the computation of their rows decides, then the topics that their results reach, and
// finally their order.
//
// A kept stage keeps its changelog with the read positions and watermarks of all its inputs, so it
// must still read all of them. An exchange keeps its topic if its rows look the same and come from
// the same stage: otherwise rows that are on their way could not be read.
func (p *Program) Continue(running *Program) *Continuation {
	m := &matcher{
		running: newShape(running), planned: newShape(p), relations: newPairs(), exchanges: newPairs(),
		stages: make(map[*Stage]*Stage), stagesBack: make(map[*Stage]*Stage), why: make(map[*Relation]string), lostStages: make(map[*Stage]string),
	}
	m.matchRelations()
	m.matchStages()
	for _, s := range running.Stages {
		if s.Stateful {
			m.matchInputs(s)
		}
	}
	m.dropOrphans()
	return m.result()
}

// shape is a plan with what tells its relations apart.
type shape struct {
	*Program
	chains  map[*Relation]string          // identifies how the rows are computed
	sources map[*Relation]map[string]bool // topics that the rows come from, through all stages
	sinks   map[*Relation]map[string]bool // topics that the rows reach
}

func newShape(p *Program) *shape {
	s := &shape{p, make(map[*Relation]string), make(map[*Relation]map[string]bool), make(map[*Relation]map[string]bool)}
	p.visit(func(r *Relation) {
		s.sources[r], s.sinks[r] = make(map[string]bool), make(map[string]bool)
		if scan, ok := r.Op.(*Scan); ok {
			s.sources[r][scan.Table.source()] = true
		}
		text := r.Describe()
		switch op := r.Op.(type) {
		case *Scan: // not the columns, which depend on all readers; a filter is pushed into it if there is one reader
			text = "Scan " + op.Table.Name
			if op.Filter != nil {
				text = (&Filter{Cond: op.Filter}).Describe(r) + "\n" + chainOf(text)
			}
		case *Exchange:
			text = "Exchange by " + op.signature(r)
		}
		for _, in := range r.Inputs {
			text += "\n" + s.chains[in]
			maps.Copy(s.sources[r], s.sources[in])
		}
		s.chains[r] = chainOf(text)
		if r.OfPattern() {
			s.chains[r] = s.chains[r.Inputs[0]]
		}
	})
	for _, sink := range p.Sinks {
		topic := sink.Op.(*Insert).Table.Kafka.Topic //nolint:forcetypeassert // a sink is an INSERT
		var up func(*Relation)
		up = func(r *Relation) {
			if !s.sinks[r][topic] {
				s.sinks[r][topic] = true
				for _, in := range r.Inputs {
					up(in)
				}
			}
		}
		up(sink)
	}
	return s
}

func chainOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// stateful returns the relations with state, in the plan's order.
func (s *shape) stateful() (all []*Relation) {
	s.visit(func(r *Relation) {
		if r.State > 0 {
			all = append(all, r)
		}
	})
	return all
}

// layout identifies how a relation's state is encoded.
func layout(r *Relation) string {
	text := r.Signature()
	for _, in := range r.Inputs {
		text += fmt.Sprintf("\n%t", in.Updating) // accumulators over updating rows are others
	}
	return text
}

func (s *shape) identity(r *Relation) string { return layout(r) + "\nfrom " + list(s.sources[r]) }

// rows identifies how an exchange encodes its rows.
func (s *shape) rows(r *Relation) string {
	x := r.Op.(*Exchange) //nolint:forcetypeassert // the caller passes exchanges
	text := fmt.Sprintf("by %s\n%t", x.signature(r), r.Inputs[0].Updating)
	for i, c := range r.Cols {
		if r.Needed[i] || slices.Contains(x.Keys, i) {
			text += "\n" + c.Name + " " + c.Type.String()
		}
	}
	return text
}

func list(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}

// pairs are relations of the running plan with their counterparts in the new one.
type pairs struct{ to, from map[*Relation]*Relation }

func newPairs() pairs {
	return pairs{make(map[*Relation]*Relation), make(map[*Relation]*Relation)}
}

func (m pairs) add(was, is *Relation) { m.to[was], m.from[is] = is, was }

func (m pairs) remove(was *Relation) {
	delete(m.from, m.to[was])
	delete(m.to, was)
}

// match pairs relations without a partner whose keys are equal, in order. If exact is set, it
// leaves keys alone that both sides don't have equally often: which of them is which is unknown.
func (m pairs) match(was, is []*Relation, wasKey, isKey func(*Relation) string, exact bool) {
	candidates := make(map[string][]*Relation)
	for _, r := range is {
		if m.from[r] == nil {
			candidates[isKey(r)] = append(candidates[isKey(r)], r)
		}
	}
	left := make(map[string][]*Relation)
	var keys []string
	for _, r := range was {
		if m.to[r] == nil {
			k := wasKey(r)
			if left[k] == nil {
				keys = append(keys, k)
			}
			left[k] = append(left[k], r)
		}
	}
	for _, k := range keys {
		old, now := left[k], candidates[k]
		if exact && len(old) != len(now) {
			continue
		}
		for i := range min(len(old), len(now)) {
			m.add(old[i], now[i])
		}
	}
}

// matcher compares two plans.
type matcher struct {
	running, planned     *shape
	relations, exchanges pairs
	stages, stagesBack   map[*Stage]*Stage // from the running plan to the new one, and back
	why                  map[*Relation]string
	lostStages           map[*Stage]string // the reason
}

func (m *matcher) matchRelations() {
	was, is := m.running.stateful(), m.planned.stateful()
	key := func(of func(*shape, *Relation) string, exact bool) {
		m.relations.match(was, is, func(r *Relation) string { return of(m.running, r) }, func(r *Relation) string { return of(m.planned, r) }, exact)
	}
	key(func(s *shape, r *Relation) string {
		return s.identity(r) + "\n" + s.chains[r] + "\nto " + list(s.sinks[r])
	}, false)
	key(func(s *shape, r *Relation) string { return s.identity(r) + "\n" + s.chains[r] }, false)
	key(func(s *shape, r *Relation) string { return s.identity(r) + "\nto " + list(s.sinks[r]) }, true)
	key((*shape).identity, true)
	key(func(_ *shape, r *Relation) string { return layout(r) + "\nin " + list(r.Stage.sources()) }, true)
	for _, r := range was {
		if m.relations.to[r] != nil {
			continue
		}
		similar := func(other *Relation) bool {
			return other.Signature() == r.Signature() && m.relations.from[other] == nil
		}
		switch i := slices.IndexFunc(is, similar); {
		case i < 0:
		case layout(is[i]) != layout(r):
			m.why[r] = "its input has other kinds of changes"
		case list(m.planned.sources[is[i]]) != list(m.running.sources[r]):
			m.why[r] = fmt.Sprintf("its rows came from %s, and those of the new one come from %s", list(m.running.sources[r]), list(m.planned.sources[is[i]]))
		default:
			m.why[r] = "several relations could continue it"
		}
	}
}

// sources returns where the rows of a stage's tables come from.
func (s *Stage) sources() map[string]bool {
	all := make(map[string]bool)
	for _, in := range s.Inputs {
		if scan, ok := in.Op.(*Scan); ok {
			all[scan.Table.source()] = true
		}
	}
	return all
}

// source identifies where the rows of a table come from: topics can join those of a pattern, and
// none is dropped.
func (t *Table) source() string {
	if t.Pattern != "" {
		return unmatched(t.Pattern)
	}
	return t.Kafka.Topic
}

func (s *Stage) exchanges() (all []*Relation) {
	for _, in := range s.Inputs {
		if _, ok := in.Op.(*Exchange); ok {
			all = append(all, in)
		}
	}
	return all
}

func (s *Stage) keeps() bool { return len(s.States()) > 0 }

func (m *matcher) pairStages(was, is *Stage) { m.stages[was], m.stagesBack[is] = is, was }

// matchStages pairs stages by the relations that they keep, and others by their inputs.
func (m *matcher) matchStages() {
	for _, s := range m.running.Stages {
		for _, r := range s.Relations {
			is := m.relations.to[r]
			if is == nil {
				continue
			}
			if m.stages[s] == nil && m.stagesBack[is.Stage] == nil {
				m.pairStages(s, is.Stage)
			}
			if m.stages[s] != is.Stage {
				m.relations.remove(r)
				m.why[r] = "its rows are now exchanged differently, and it would have to share a stage with other state"
			}
		}
	}
	for _, s := range m.running.Stages {
		if !s.Stateful || m.stages[s] != nil {
			continue
		}
		var found *Stage
		for _, other := range m.planned.Stages {
			if !other.Stateful || m.stagesBack[other] != nil || missing(s, other) != "" || len(other.exchanges()) < len(s.exchanges()) {
				continue
			}
			if found == nil || !sameTables(s, found) && sameTables(s, other) {
				found = other
			}
		}
		if found != nil {
			m.pairStages(s, found)
		}
	}
}

// missing returns a topic that was read through a table but no longer is.
func missing(was, is *Stage) string {
	now := make(map[string]bool)
	for _, in := range is.Inputs {
		if scan, ok := in.Op.(*Scan); ok {
			now[scan.Table.Kafka.Topic] = true
		}
	}
	for _, in := range was.Inputs {
		if scan, ok := in.Op.(*Scan); ok && !now[scan.Table.Kafka.Topic] {
			return scan.Table.Kafka.Topic
		}
	}
	return ""
}

// sameTables reports whether all tables that a stage has read are read by the other.
func sameTables(was, is *Stage) bool {
	return !slices.ContainsFunc(was.Inputs, func(a *Relation) bool {
		scan, ok := a.Op.(*Scan)
		return ok && !slices.ContainsFunc(is.Inputs, func(b *Relation) bool {
			other, ok := b.Op.(*Scan)
			return ok && other.Table.Name == scan.Table.Name
		})
	})
}

// matchInputs checks that a stage still reads what it has positions of.
func (m *matcher) matchInputs(was *Stage) {
	is := m.stages[was]
	if is == nil {
		if !was.keeps() {
			m.lostStages[was] = "no stage reads the same inputs and passes their rows on to others"
		}
		return
	}
	if topic := missing(was, is); topic != "" {
		why := "topic " + topic + " is no longer read here"
		if len(is.exchanges()) > len(was.exchanges()) {
			why = "rows of topic " + topic + " now pass an exchange first, so that keys are in other partitions than their state"
		}
		m.lose(was, why)
		return
	}
	sender := func(r *Relation, running bool) string {
		s := r.Inputs[0].Stage
		if running {
			s = m.stages[s]
		}
		if s == nil {
			return "a stage that is lost"
		}
		return s.Name
	}
	old, now := was.exchanges(), is.exchanges()
	for _, exact := range []bool{false, true} {
		key := func(s *shape, running bool) func(*Relation) string {
			return func(r *Relation) string {
				k := s.rows(r) + "\nfrom " + sender(r, running)
				if !exact {
					k += "\n" + s.chains[r]
				}
				return k
			}
		}
		m.exchanges.match(old, now, key(m.running, true), key(m.planned, false), exact)
	}
	for _, x := range old {
		if m.exchanges.to[x] == nil {
			m.lose(was, "rows on their way through topic "+x.Topic()+" could not be read: the exchange has other rows, another sender, or no longer exists")
			return
		}
	}
}

// dropOrphans gives up stages that read rows of stages that are lost.
func (m *matcher) dropOrphans() {
	for again := true; again; {
		again = false
		for _, s := range m.running.Stages {
			orphan := func(x *Relation) bool { return m.stages[x.Inputs[0].Stage] == nil }
			if m.stages[s] != nil && slices.ContainsFunc(s.exchanges(), orphan) {
				m.lose(s, "the stage that sends its rows is lost")
				again = true
			}
		}
	}
}

// lose gives up what a stage would have kept.
func (m *matcher) lose(s *Stage, why string) {
	delete(m.stagesBack, m.stages[s])
	delete(m.stages, s)
	for _, r := range s.Relations {
		if m.relations.to[r] != nil {
			m.relations.remove(r)
			m.why[r] = why
		}
	}
	for _, x := range s.exchanges() {
		if m.exchanges.to[x] != nil {
			m.exchanges.remove(x)
		}
	}
	if !s.keeps() {
		m.lostStages[s] = why
	}
}

func (m *matcher) result() *Continuation {
	c := &Continuation{Stages: make(map[*Stage]*Stage)}
	for _, r := range m.planned.stateful() {
		if m.relations.from[r] != nil {
			c.Kept = append(c.Kept, r)
		} else {
			c.New = append(c.New, r)
		}
	}
	for _, s := range m.running.Stages {
		for _, r := range s.States() {
			if m.relations.to[r] == nil {
				c.Lost = append(c.Lost, Lost{s.Name, r.Signature(), cmp.Or(m.why[r], "no relation keeps the same state")})
			}
		}
		if why, lost := m.lostStages[s]; lost {
			c.Lost = append(c.Lost, Lost{s.Name, "positions and watermarks of " + strings.Join(s.Topics(), ", "), why})
		}
	}
	if len(c.Lost) > 0 {
		return c
	}
	names := m.number()
	if c.Program = m.planned.Program; !names.positional(c.Program) {
		c.Program = c.Program.named(names)
	}
	for i, s := range m.planned.Stages {
		if was := m.stagesBack[s]; was != nil {
			c.Stages[c.Program.Stages[i]] = was
		}
	}
	return c
}
