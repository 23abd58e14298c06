package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/saved"
	"weir.example/weir/internal/secret"
)

func (p *pipeline) manifestTopic() string { return p.cfg.Program.ManifestTopic() }

// Versions of the manifest. Older manifests have none.
const (
	manifestPositions = 1 // states record positions; names and numbers are those of the plan by position
	manifestNames     = 2 // the plan has other names and numbers, or its state was created by other SQL
)

// manifest describes the SQL, topics and state of a running pipeline.
type manifest struct {
	Version int             `json:"version,omitempty"`
	Stages  []manifestStage `json:"stages"`
	SQL     string          `json:"sql,omitempty"` // the running text, for display
	// Volatile names the functions whose values depend on the transaction: the rows can't be
	// recomputed from the records, which weir verify must know.
	Volatile []string                 `json:"volatile,omitempty"`
	Topics   map[string]manifestTopic `json:"topics,omitempty"`
	Matches  plan.Matches             `json:"matches,omitempty"` // see match.go
	// Adopted says that a version without positions started the pipeline: if none is recorded, the
	// group's offset counts.
	Adopted bool `json:"adopted,omitempty"`
}

type manifestStage struct {
	Name   string          `json:"name"`
	Inputs []string        `json:"inputs"`
	State  []manifestState `json:"state"`
	// Stateless stages may change freely. They are listed so that a version without positions,
	// which would continue from the group's offsets and record none, refuses the manifest.
	Stateless bool `json:"stateless,omitempty"`
	// Former are fingerprints that the stage had before SQL was added that keeps further state.
	// Partitions in which nothing was committed since then still have one of them.
	Former []string `json:"former,omitempty"`
}

type manifestState struct {
	ID   uint16 `json:"id"`
	Does string `json:"does"`
}

func (p *pipeline) manifest() manifest {
	m := manifest{Version: manifestPositions, SQL: secret.Redact(p.cfg.Program.SQL), Volatile: p.cfg.Program.Volatile, Adopted: p.adopted, Topics: make(map[string]manifestTopic)}
	if len(p.cfg.Program.Matches) > 0 {
		m.Matches = p.cfg.Program.Matches
	}
	if p.renamed || len(p.former) > 0 {
		m.Version = manifestNames // an older Weir would look for the state by position
	}
	for _, s := range p.cfg.Program.Stages {
		stage := stageManifest(s)
		stage.Former = p.former[s.Name]
		m.Stages = append(m.Stages, stage)
	}
	for topic, n := range p.partitions {
		m.Topics[topic] = manifestTopic{p.ids[topic].String(), n, p.startups[topic]}
	}
	return m
}

func stageManifest(s *plan.Stage) manifestStage {
	stage := manifestStage{Name: s.Name, Inputs: s.Topics(), State: []manifestState{}, Stateless: !s.Stateful}
	for _, r := range s.States() {
		stage.State = append(stage.State, manifestState{r.State, r.Signature()})
	}
	return stage
}

// ChangedError says that a pipeline's state was created by SQL that keeps other state. Report has a
// line for each state that differs and for each that could be kept.
type ChangedError struct{ Pipeline, Report string }

func (e *ChangedError) Error() string {
	return "its state was created by other SQL:\n" + e.Report + "Restore the old SQL, give the pipeline another name (SET 'pipeline.name') to start without state, " +
		"or delete its state and the group's offsets: weir run --reset " + e.Pipeline + " (results, late rows and dead letters are kept)"
}

// checkManifest refuses SQL that would read the state of other SQL, and topics that do not belong
// to the state. The first start of a pipeline writes the manifest, and so does a start with other
// SQL that keeps the same state.
func (p *pipeline) checkManifest(ctx context.Context, admin *kadm.Client) error {
	used, err := p.used(ctx, admin) // before the plan: a process that reads has written it first
	if err != nil {
		return err
	}
	old, err := p.readManifest(ctx)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(old, p.running) {
		return errPlanChanged
	}
	if old == nil {
		if used != nil && !p.cfg.FromChangelog {
			return used
		}
		if p.adopted = used != nil; p.adopted {
			known, err := p.hasPositions(ctx)
			if err == nil && !known {
				err = p.checkAdoptable(ctx, admin)
			}
			if err != nil {
				return err
			}
		}
		if err := p.decideStartups(ctx, admin, nil, used != nil); err != nil {
			return err
		}
		if err := p.writeManifest(ctx); err != nil {
			return err
		}
		return p.agreeOnStartups(ctx)
	}
	p.former = formerOf(old, p.cfg.Program)
	if report := p.compare(old); report != "" {
		switch begun, err := p.hasCommitted(ctx, admin); {
		case err != nil:
			return err
		case begun:
			return &ChangedError{p.cfg.Program.Name, report}
		}
		p.former = nil
		p.cfg.Logger.Info("the previous SQL kept other state but has committed nothing: starting with this SQL", "topic", p.manifestTopic())
	} else {
		p.logContinued()
	}
	if err := p.checkIdentity(old); err != nil {
		return err
	}
	if old.Version < manifestPositions {
		if err := p.checkAlone(ctx, admin, "an older version of Weir has written the plan"); err != nil {
			return err
		}
		if err := p.checkAdoptable(ctx, admin); err != nil {
			return err
		}
	}
	if secret.Redact(old.SQL) != secret.Redact(p.cfg.Program.SQL) {
		if err := p.checkAlone(ctx, admin, "this SQL is not that of "+p.manifestTopic()); err != nil {
			return err
		}
	}
	p.adopted = old.Adopted || old.Version == 0
	if err := p.decideStartups(ctx, admin, old, false); err != nil {
		return err
	}
	if len(p.moving) > 0 {
		return nil // the move writes it when it is complete
	}
	if reflect.DeepEqual(*old, p.manifest()) {
		return nil
	}
	return p.writeManifest(ctx)
}

// readManifest returns the manifest of the last start; nil if there is none.
func (p *pipeline) readManifest(ctx context.Context) (old *manifest, err error) {
	err = broker.ReadAll(ctx, p.cfg.Broker, p.manifestTopic(), nil, func(r *kgo.Record) error {
		earlier := old
		var err error
		if old, err = decodeManifest(r.Value); err != nil {
			return &fatalError{fmt.Errorf("offset %d is not a plan, or it is damaged: %w. Restore the topic; or delete it, and start once with weir run --from-changelog and the SQL that created the state", r.Offset, err)}
		}
		old.keepStartups(earlier)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the plan of the running pipeline in %s: %w", p.manifestTopic(), err)
	}
	return old, nil
}

func decodeManifest(record []byte) (*manifest, error) {
	m := &manifest{}
	if err := saved.Decode(record, m, "stages"); err != nil {
		return nil, err
	}
	if m.Version < 0 {
		return nil, fmt.Errorf("it has version %d", m.Version)
	}
	for topic, t := range m.Topics {
		if t.Partitions < 0 {
			return nil, fmt.Errorf("topic %q has %d partitions", topic, t.Partitions)
		}
		if t.Startup == nil {
			continue
		}
		for partition, offset := range t.Startup.Offsets {
			if partition < 0 || offset < 0 {
				return nil, fmt.Errorf("partition %d of topic %q is first read at offset %d", partition, topic, offset)
			}
		}
	}
	return m, nil
}

func (p *pipeline) writeManifest(ctx context.Context) error {
	value, err := json.Marshal(p.manifest())
	if err != nil {
		return err
	}
	client, err := broker.Connect(ctx, p.cfg.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(ctx, p.planRecord(value)).FirstErr()
}

func (p *pipeline) planRecord(value []byte) *kgo.Record {
	return &kgo.Record{Topic: p.manifestTopic(), Key: []byte("plan"), Value: value}
}

// used returns, as an error, that a pipeline without a manifest has been used nevertheless: its
// group has read something, or there is state, and the SQL that did so is unknown. It is nil if
// there is neither.
func (p *pipeline) used(ctx context.Context, admin *kadm.Client) (used, err error) {
	const ways = "If this is the SQL that created the state, and only %[1]s was lost: weir run --from-changelog, once. To start with another group and state, give the pipeline another name (SET 'pipeline.name')"
	ends, err := committedEnds(ctx, admin, p.stateTopics()...)
	if err != nil {
		return nil, err
	}
	for _, topic := range slices.Sorted(maps.Keys(ends)) {
		for partition, end := range ends[topic] {
			if end > 0 {
				return p.mismatch("topic %s has no plan of the pipeline, but it has state: %s-%d ends at offset %d. "+ways, p.manifestTopic(), topic, partition, end), nil
			}
		}
	}
	for _, t := range p.sources() {
		if t.Kafka.Startup.Group {
			continue
		}
		group, err := p.groupOffsets(ctx, admin, t.Kafka.Topic)
		if err != nil {
			return nil, err
		}
		for partition, at := range group[t.Kafka.Topic] {
			if at.Err == nil && at.At > 0 {
				return p.mismatch("group %[2]s has read topic %[3]s (partition %[4]d up to offset %[5]d), but topic %[1]s has no plan of the pipeline, and there is no state. "+
					"Give the pipeline another name (SET 'pipeline.name')", p.manifestTopic(), Group(p.cfg.Program), t.Kafka.Topic, partition, at.At), nil
			}
		}
	}
	return nil, nil
}

// compareManifests reports what differs and what could be kept; "" if the state fits.
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
	stateless := func(s manifestStage) bool { return s.Stateless }
	old.Stages, now.Stages = slices.DeleteFunc(slices.Clone(old.Stages), stateless), slices.DeleteFunc(slices.Clone(now.Stages), stateless)
	differs := false
	for _, was := range old.Stages {
		is := find(now, was.Name)
		if is == nil {
			differs = true
			fmt.Fprintf(&b, "  %s is missing, with its state\n", was.Name)
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
