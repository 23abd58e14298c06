package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/broker"
	"weir/plan"
)

func (p *pipeline) manifestTopic() string { return p.Program.Name + ".plan" }

// manifest is what the state of a running pipeline is made of.
type manifest struct {
	Stages []manifestStage `json:"stages"`
	SQL    string          `json:"sql,omitempty"` // the text that runs now, for those who look at the pipeline
}

type manifestStage struct {
	Name   string          `json:"name"`
	Inputs []string        `json:"inputs"`
	State  []manifestState `json:"state"`
}

type manifestState struct {
	ID   uint16 `json:"id"`
	Does string `json:"does"`
}

func (p *pipeline) manifest() manifest {
	m := manifest{SQL: p.Program.SQL}
	for _, s := range p.Program.Stages {
		if !s.Stateful {
			continue
		}
		stage := manifestStage{Name: s.Name, Inputs: s.Topics(), State: []manifestState{}}
		for _, r := range s.Relations {
			if r.State > 0 {
				stage.State = append(stage.State, manifestState{r.State, r.Signature()})
			}
		}
		m.Stages = append(m.Stages, stage)
	}
	return m
}

// ChangedError says that a pipeline's state was made by SQL that keeps something else. Report has a line for each state that
// differs, and for each that could be kept.
type ChangedError struct{ Report string }

func (e *ChangedError) Error() string {
	return "its state was made by other SQL:\n" + e.Report + "Put the old SQL back, or give the pipeline another name (SET 'pipeline.name') to begin anew"
}

// checkManifest refuses SQL that would read the state of other SQL. A pipeline's first start writes what its state is,
// and so does one with other SQL that keeps the same.
func (p *pipeline) checkManifest(ctx context.Context) error {
	used, err := p.used(ctx) // before the plan: who reads while this starts has written it first
	if err != nil {
		return err
	}
	var old *manifest
	err = broker.ReadAll(ctx, p.Broker, p.manifestTopic(), nil, func(r *kgo.Record) error {
		old = &manifest{}
		return json.Unmarshal(r.Value, old)
	})
	if err != nil {
		return fmt.Errorf("read the plan of the running pipeline in %s: %w", p.manifestTopic(), err)
	}
	now := p.manifest()
	if old != nil {
		if report := compareManifests(*old, now); report != "" {
			return &ChangedError{report}
		}
		if old.SQL == now.SQL {
			return nil
		}
		return p.writeManifest(ctx, &now)
	}
	if used != nil {
		return used
	}
	return p.writeManifest(ctx, &now)
}

func (p *pipeline) writeManifest(ctx context.Context, now *manifest) error {
	value, err := json.Marshal(now)
	if err != nil {
		return err
	}
	client, err := broker.Connect(ctx, p.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(ctx, &kgo.Record{Topic: p.manifestTopic(), Key: []byte("plan"), Value: value}).FirstErr()
}

// used says how far the group has read already; nil where it has not. Without a plan that was a program which kept its state
// elsewhere: what it has read would be missing.
func (p *pipeline) used(ctx context.Context) (used, err error) {
	if !slices.ContainsFunc(p.Program.Stages, func(s *plan.Stage) bool { return s.Stateful }) {
		return nil, nil
	}
	admin, err := p.admin(ctx)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	for _, t := range p.sources() {
		if t.Startup.Group {
			continue
		}
		group, err := p.groupOffsets(ctx, admin, t.Topic)
		if err != nil {
			return nil, err
		}
		for partition, at := range group[t.Topic] {
			if at.Err == nil && at.At > 0 {
				return &fatalError{fmt.Errorf("group %s has read topic %s (partition %d up to offset %d), but there is no state of it: topic %s does not know the pipeline. "+
					"Delete the group to begin anew (kafka-consumer-groups --delete --group %s), or give the pipeline another name (SET 'pipeline.name')",
					Group(p.Program), t.Topic, partition, at.At, p.manifestTopic(), Group(p.Program))}, nil
			}
		}
	}
	return nil, nil
}

// compareManifests says what differs and what could be kept; "" where the state fits.
func compareManifests(old, now manifest) string {
	var b strings.Builder
	find := func(m manifest, name string) *manifestStage {
		for i := range m.Stages {
			if m.Stages[i].Name == name {
				return &m.Stages[i]
			}
		}
		return nil
	}
	differs := false
	for _, was := range old.Stages {
		is := find(now, was.Name)
		if is == nil {
			differs = true
			fmt.Fprintf(&b, "  %s is gone, with its state\n", was.Name)
			continue
		}
		if !slices.Equal(was.Inputs, is.Inputs) {
			differs = true
			fmt.Fprintf(&b, "  %s read %s, and now reads %s\n", was.Name, strings.Join(was.Inputs, ", "), strings.Join(is.Inputs, ", "))
		}
		for _, s := range was.State {
			if slices.Contains(is.State, s) {
				fmt.Fprintf(&b, "  kept:    %s\n", s.Does)
				continue
			}
			differs = true
			fmt.Fprintf(&b, "  changed: %s\n", s.Does)
			for _, other := range is.State {
				if other.ID == s.ID {
					fmt.Fprintf(&b, "       to: %s\n", other.Does)
				}
			}
		}
		for _, s := range is.State {
			if !slices.ContainsFunc(was.State, func(o manifestState) bool { return o.ID == s.ID }) {
				differs = true
				fmt.Fprintf(&b, "  new:     %s\n", s.Does)
			}
		}
	}
	for _, is := range now.Stages {
		if find(old, is.Name) == nil {
			differs = true
			fmt.Fprintf(&b, "  %s is new\n", is.Name)
		}
	}
	if !differs {
		return ""
	}
	return b.String()
}
