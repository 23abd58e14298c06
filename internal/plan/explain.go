package plan

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Describe is one line about what a relation does.
func (r *Relation) Describe() string {
	in := func(i int) []Column { return r.Inputs[i].Cols }
	list := func(cols []Column, columns []int) string {
		all := make([]string, len(columns))
		for i, c := range columns {
			all[i] = cols[c].Name
		}
		return strings.Join(all, ", ")
	}
	switch op := r.Op.(type) {
	case *Scan:
		s := fmt.Sprintf("Scan %s of topic %s", op.Table.Name, op.Table.Topic)
		if op.Filter != nil {
			s += " where " + op.Filter.String()
		}
		if op.Table.Watermark != nil {
			s += fmt.Sprintf(", watermark %s = %s", op.Table.Columns[op.Table.Rowtime].Name, op.Table.Watermark)
		}
		return s + ", reads " + r.neededNames()
	case *Filter:
		return "Filter " + op.Cond.String()
	case *Project:
		var all []string
		for i, e := range op.Exprs {
			if !r.Needed[i] {
				continue
			}
			text := e.String()
			if text != r.Cols[i].Name {
				text += " AS " + r.Cols[i].Name
			}
			all = append(all, text)
		}
		return "Project " + strings.Join(all, ", ")
	case *Window:
		s := "Window " + op.String() + " over " + in(0)[op.Time].Name
		if op.Deferred {
			s += ", by slices"
		}
		return s
	case *Aggregate:
		s := "Aggregate"
		if op.Window != nil {
			s = "Aggregate in windows of " + op.Window.String()
		}
		var aggs []string
		for _, a := range op.Aggs {
			aggs = append(aggs, a.String(r.Inputs[0]))
		}
		if len(op.Keys) > 0 {
			s += " by " + list(in(0), op.Keys)
		}
		if len(aggs) == 0 {
			return "Distinct" + strings.TrimPrefix(s, "Aggregate")
		}
		return s + ": " + strings.Join(aggs, ", ")
	case *Rank:
		var order []string
		for _, k := range op.Order {
			o := in(0)[k.Column].Name
			if k.Desc {
				o += " DESC"
			}
			order = append(order, o)
		}
		if op.First {
			return fmt.Sprintf("First of each (%s) by %s", list(in(0), op.Partition), strings.Join(order, ", "))
		}
		s := fmt.Sprintf("Top %d of each (%s) by %s", op.Limit, list(in(0), op.Partition), strings.Join(order, ", "))
		if op.End >= 0 {
			s += ", when the window ends"
		}
		return s
	case *Over:
		all := make([]string, len(op.Aggs))
		for i, a := range op.Aggs {
			all[i] = a.String(r.Inputs[0])
		}
		return fmt.Sprintf("Over each (%s) by %s, %s: %s", list(in(0), op.Partition), in(0)[op.Time].Name, op.Frame, strings.Join(all, ", "))
	case *TemporalJoin:
		s := "Lookup"
		if op.Outer {
			s = "Outer lookup"
		}
		s += fmt.Sprintf(" (%s) = (%s) as of %s", list(in(0), op.Left), list(in(1), op.Right), in(0)[op.LeftTime].Name)
		if op.Cond != nil {
			s += " and " + op.Cond.String()
		}
		return s
	case *Unnest:
		return "Unnest " + op.Of.String()
	case *Union:
		return "Union"
	case *Exchange:
		by := "(" + list(in(0), op.Keys) + ")"
		if len(op.Keys) == 0 {
			by = "nothing: all rows to one partition"
		}
		return fmt.Sprintf("Exchange by %s through topic %s", by, op.Topic)
	case *Insert:
		how := "Insert into"
		if op.Table.Upsert {
			how = "Upsert into"
		}
		return how + " " + op.Table.String()
	}
	return fmt.Sprintf("%T", r.Op)
}

func (r *Relation) neededNames() string {
	var all []string
	for i, c := range r.Cols {
		if r.Needed[i] {
			all = append(all, c.Name)
		}
	}
	if len(all) == 0 {
		return "no columns"
	}
	return strings.Join(all, ", ")
}

func (w *Window) String() string {
	s := string(w.Kind)
	switch w.Kind {
	case Session:
		return s + " with a gap of " + w.Gap.String()
	case Tumble:
		s += " " + w.Size.String()
	default:
		s += " " + w.Size.String() + " every " + w.Slide.String()
	}
	if w.Offset != 0 {
		s += " offset " + w.Offset.String()
	}
	if w.Zone != nil && w.Zone.String() != "UTC" {
		s += " in " + w.Zone.String()
	}
	return s
}

// Signature says what the state of a relation is made of: two plans with equal signatures can take
// over each other's.
func (r *Relation) Signature() string {
	in := r.Inputs[0].Cols
	kinds := func(columns []int) string {
		var all []string
		for _, c := range columns {
			all = append(all, in[c].Name+" "+in[c].Type.String())
		}
		return strings.Join(all, ", ")
	}
	switch op := r.Op.(type) {
	case *Aggregate:
		s := r.Describe() + "; keys " + kinds(op.Keys)
		if op.Window != nil && op.Window.Sliced {
			s += "; by slices"
		}
		for _, a := range op.Aggs {
			if a.Arg >= 0 {
				s += "; " + a.Name + " of " + in[a.Arg].Type.String()
			}
		}
		return s
	case *Rank:
		return r.Describe() + "; rows of " + rowSignature(r.Inputs[0])
	case *Over:
		return r.Describe() + "; keys " + kinds(op.Partition) + "; rows of " + rowSignature(r.Inputs[0])
	case *TemporalJoin:
		return r.Describe() + "; rows of " + rowSignature(r.Inputs[0]) + "; versions of " + rowSignature(r.Inputs[1])
	}
	return ""
}

// rowSignature is the columns that a kept row has.
func rowSignature(r *Relation) string {
	var all []string
	for i, c := range r.Cols {
		if r.Needed[i] {
			all = append(all, c.Name+" "+c.Type.String())
		}
	}
	return strings.Join(all, ", ")
}

// Text is the plan as a tree for each stage, outputs first.
func (p *Program) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pipeline %s\n", p.Name)
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "\n%s: one task for each partition of %s", s.Name, strings.Join(s.Topics(), " and "))
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

// planJSON and the others are the plan for programs.
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
}

type columnJSON struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// MarshalJSON writes the plan for programs.
func (p *Program) MarshalJSON() ([]byte, error) {
	out := planJSON{Pipeline: p.Name}
	for _, s := range p.Stages {
		stage := stageJSON{Name: s.Name, Topics: s.Topics(), Changelog: s.Changelog}
		for _, r := range s.Relations {
			n := relationJSON{ID: r.ID, Op: r.Op.Name(), Does: r.Describe(), Inputs: []int{}, Updating: r.Updating}
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

// Dot is the plan as a graph in the language of Graphviz.
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
