package plan

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Text returns the plan as one tree per stage, outputs first.
func (p *Program) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pipeline %s\n", p.Name)
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "\n%s: one task for each partition of %s", s.Name, strings.Join(s.topicTexts(), " and "))
		if s.Stateful {
			fmt.Fprintf(&b, ", state in %s", s.Changelog)
		}
		b.WriteByte('\n')
		seen := make(map[*Relation]bool)
		for _, out := range s.Outputs {
			if _, sends := out.Op.(*Exchange); sends {
				fmt.Fprintf(&b, "  Send to %s\n", out.Topic())
			} else {
				fmt.Fprintf(&b, "  %s\n", out.Describe())
			}
			writeTree(&b, out.Inputs[0], "  ", true, seen)
		}
	}
	return b.String()
}

// topicTexts names the topics that a stage reads, and the patterns of those that are not known.
func (s *Stage) topicTexts() []string {
	all := s.Topics()
	for i, topic := range all {
		if pattern, ok := strings.CutPrefix(topic, "/"); ok { // see unmatched
			all[i] = fmt.Sprintf("each topic that matches '%s'", strings.TrimSuffix(pattern, "/"))
		}
	}
	return all
}

func writeTree(b *strings.Builder, r *Relation, indent string, last bool, seen map[*Relation]bool) {
	branch, below := "├─ ", "│  "
	if last {
		branch, below = "└─ ", "   "
	}
	text := r.Describe()
	if _, reads := r.Op.(*Exchange); reads {
		text = "Read " + r.Topic()
	}
	if seen[r] && len(r.Inputs) > 0 {
		fmt.Fprintf(b, "%s%s%s (as above)\n", indent, branch, text)
		return
	}
	seen[r] = true
	fmt.Fprintf(b, "%s%s%s\n", indent, branch, text)
	if _, reads := r.Op.(*Exchange); reads {
		return
	}
	for i, in := range r.Inputs {
		writeTree(b, in, indent+below, i == len(r.Inputs)-1, seen)
	}
}

// planJSON is the plan as JSON.
type planJSON struct {
	Pipeline string      `json:"pipeline"`
	Stages   []stageJSON `json:"stages"`
}

type stageJSON struct {
	Name      string         `json:"name"`
	Topics    []string       `json:"topics"`
	Changelog string         `json:"changelog,omitempty"`
	Relations []relationJSON `json:"relations"`
}

type relationJSON struct {
	ID       int          `json:"id"`
	Op       string       `json:"op"`
	Does     string       `json:"does"`
	Inputs   []int        `json:"inputs"`
	Columns  []columnJSON `json:"columns,omitempty"`
	Updating bool         `json:"updating,omitempty"`
	State    string       `json:"state,omitempty"`
	Costs    []Cost       `json:"costs,omitempty"` // of its exchange or state
}

type columnJSON struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// MarshalJSON encodes the plan.
func (p *Program) MarshalJSON() ([]byte, error) {
	out := planJSON{Pipeline: p.Name}
	for _, s := range p.Stages {
		stage := stageJSON{Name: s.Name, Topics: s.Topics(), Changelog: s.Changelog}
		for _, r := range s.Relations {
			n := relationJSON{ID: r.ID, Op: r.Op.Name(), Does: r.Describe(), Inputs: []int{}, Updating: r.Updating, Costs: r.Costs()}
			for _, in := range r.Inputs {
				n.Inputs = append(n.Inputs, in.ID)
			}
			for i, c := range r.Cols {
				if r.Needed[i] {
					n.Columns = append(n.Columns, columnJSON{c.Name, c.Type.String()})
				}
			}
			if r.State > 0 {
				n.State = r.Signature()
			}
			stage.Relations = append(stage.Relations, n)
		}
		out.Stages = append(out.Stages, stage)
	}
	return json.Marshal(out)
}

// Dot returns the plan as a Graphviz graph.
func (p *Program) Dot() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n  rankdir=LR; node [shape=box, style=rounded, fontname=\"sans-serif\"];\n", p.Name)
	for i, s := range p.Stages {
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%q;\n", i, s.Name)
		for _, r := range s.Relations {
			fmt.Fprintf(&b, "    n%d [label=%q];\n", r.ID, r.Describe())
		}
		b.WriteString("  }\n")
	}
	for _, s := range p.Stages {
		for _, r := range s.Relations {
			for _, in := range r.Inputs {
				fmt.Fprintf(&b, "  n%d -> n%d;\n", in.ID, r.ID)
			}
		}
	}
	b.WriteString("}\n")
	return b.String()
}
