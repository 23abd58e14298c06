package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
)

// The plan numbers its stages, exchanges and state by position, so every operator that is added
// shifts those that follow. The manifest records the names and numbers under which a pipeline
// stores its state: a plan that continues it takes them over for what it keeps (see Continue in
// package plan), and has new ones for the rest. In a changelog a number always means the same
// state, so local copies of it remain valid.

// errPlanChanged is retried: the pipeline is prepared again for the plan that another process has
// written.
var errPlanChanged = errors.New("another process has written the plan of the pipeline in the meantime")

// bind gives the plan the names and numbers of the state that it continues.
func (p *pipeline) bind(ctx context.Context, admin *kadm.Client) error {
	p.cfg.Program, p.running, p.continued, p.renamed, p.former = p.compiled, nil, nil, false, nil
	n, err := partitionsOf(ctx, admin, p.manifestTopic())
	if err != nil {
		return err
	}
	if n > 0 {
		if p.running, err = p.readManifest(ctx); err != nil {
			return err
		}
	}
	if p.running != nil {
		if err := p.running.checkVersion(p.manifestTopic()); err != nil {
			return err
		}
	}
	if err := p.match(ctx, admin); err != nil {
		return err
	}
	p.cfg.Program = p.planned
	if p.running == nil {
		return nil
	}
	running := p.running.program(p.planned.Name)
	if running == nil {
		return nil
	}
	p.continued = p.planned.Continue(running)
	if bound := p.continued.Program; bound != nil {
		p.cfg.Program, p.renamed = bound, bound != p.planned
	}
	return nil
}

func (m *manifest) checkVersion(topic string) error {
	if m.Version > manifestNames {
		return &fatalError{&newerError{"the plan in topic " + topic, m.Version, manifestNames}}
	}
	return nil
}

// RunningPlan returns the plan in a record of a pipeline's plan topic, with the names and numbers
// under which its state is stored.
func RunningPlan(record []byte, pipeline string) (*plan.Program, error) {
	m, err := decodeManifest(record)
	if err != nil {
		return nil, fmt.Errorf("read the plan of pipeline %s: %w", pipeline, err)
	}
	if p := m.program(pipeline); p != nil {
		return p, nil
	}
	return plan.CompileMatched(m.SQL, pipeline, m.Matches)
}

// program plans the SQL of a manifest and gives the plan the manifest's names and numbers. It
// returns nil if the manifest has no SQL or positions, or if this version of Weir plans the SQL
// differently: names can then be compared by position only.
func (m *manifest) program(pipeline string) *plan.Program {
	if m.Version < manifestPositions || m.SQL == "" {
		return nil
	}
	p, err := plan.CompileMatched(m.SQL, pipeline, m.Matches)
	if err != nil || len(p.Stages) != len(m.Stages) {
		return nil
	}
	var names plan.Names
	for i, s := range p.Stages {
		was, is := m.Stages[i], stageManifest(s)
		if was.Stateless != is.Stateless || len(was.Inputs) != len(is.Inputs) || len(was.State) != len(is.State) {
			return nil
		}
		n := plan.StageNames{Stage: was.Name}
		for k, topic := range is.Inputs {
			switch exchange := strings.HasPrefix(topic, p.Name+".repartition") && !readsTable(s, topic); {
			case exchange:
				n.Exchanges = append(n.Exchanges, was.Inputs[k])
			case was.Inputs[k] != topic:
				return nil
			}
		}
		for k, state := range is.State {
			if was.State[k].Does != state.Does {
				return nil
			}
			n.States = append(n.States, was.State[k].ID)
		}
		names.Stages = append(names.Stages, n)
	}
	named, ok := p.Named(names)
	if !ok {
		return nil
	}
	return named
}

func readsTable(s *plan.Stage, topic string) bool {
	return slices.ContainsFunc(s.Inputs, func(in *plan.Relation) bool {
		_, scan := in.Op.(*plan.Scan)
		return scan && in.Topic() == topic
	})
}

// compare reports what is lost of the state of the last start; "" if the state fits.
func (p *pipeline) compare(old *manifest) string {
	if p.continued != nil && len(p.continued.Lost) == 0 {
		return ""
	}
	byPosition := compareManifests(*old, p.manifest())
	if byPosition == "" || p.continued == nil {
		return byPosition
	}
	return continuationReport(p.continued)
}

func continuationReport(c *plan.Continuation) string {
	var b strings.Builder
	for _, r := range c.Kept {
		fmt.Fprintf(&b, "  kept: %s\n", r.Signature())
	}
	for _, l := range c.Lost {
		fmt.Fprintf(&b, "  lost: %s (%s)\n        %s\n", l.Does, l.Stage, l.Why)
	}
	for _, r := range c.New {
		fmt.Fprintf(&b, "  new:  %s\n", r.Signature())
	}
	return b.String()
}

// logContinued reports what starts without state although the pipeline has run before.
func (p *pipeline) logContinued() {
	if p.continued == nil || secret.Redact(p.running.SQL) == secret.Redact(p.planned.SQL) {
		return
	}
	for _, r := range p.continued.New {
		p.cfg.Logger.Warn("SQL was added that keeps state: it starts without, and rows that were read before are not part of it",
			"state", r.Signature())
	}
}

// formerOf returns the fingerprints that the state of kept stages may have. New stages have names
// that no stage had before.
func formerOf(old *manifest, p *plan.Program) map[string][]string {
	all := make(map[string][]string)
	for _, s := range p.Stages {
		i := slices.IndexFunc(old.Stages, func(was manifestStage) bool { return was.Name == s.Name && !was.Stateless })
		if i < 0 || !s.Stateful {
			continue
		}
		now := fingerprint(s)
		former := append(slices.Clone(old.Stages[i].Former), old.Stages[i].fingerprint())
		slices.Sort(former)
		former = slices.DeleteFunc(slices.Compact(former), func(f string) bool { return f == now })
		if len(former) > 0 {
			all[s.Name] = former
		}
	}
	return all
}

// keepsSame reports whether a plan keeps the same state under the same names and numbers.
func (m *manifest) keepsSame(p *plan.Program) bool {
	was, is := make(map[string]string), make(map[string]string)
	for _, s := range m.Stages {
		if !s.Stateless {
			was[s.Name] = s.fingerprint()
		}
	}
	for _, s := range p.Stages {
		if s.Stateful {
			is[s.Name] = fingerprint(s)
		}
	}
	return maps.Equal(was, is)
}
