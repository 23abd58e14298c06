package plan

import (
	"fmt"
	"slices"
)

// Union passes the rows of all inputs, whose columns have the same types.
type Union struct{ opDefaults }

// Name implements Op.
func (*Union) Name() string { return "Union" }

// Describe implements Op.
func (*Union) Describe(*Relation) string { return "Union" }

// Reads implements Op.
func (*Union) Reads(r *Relation, _ int, need func(int)) { needPassed(r, len(r.Cols), need) }

func (*Union) readsParts(r *Relation, _ int, need needPart) {
	needPassedParts(r, len(r.Cols), need)
}

func (*Union) copies(int) bool { return true }

// OfPattern reports whether r unites the topics of a table with a pattern.
func (r *Relation) OfPattern() bool {
	if _, union := r.Op.(*Union); !union {
		return false
	}
	first, ok := r.Inputs[0].Op.(*Scan)
	return ok && first.Table.Pattern != "" && !slices.ContainsFunc(r.Inputs, func(in *Relation) bool {
		scan, ok := in.Op.(*Scan)
		return !ok || scan.Table.Name != first.Table.Name
	})
}

// StateKey names the watermark of a union in the state by what it reads, and by its place among
// those of its stage that read the same. Topics that join those of a pattern don't change it.
func (*Union) StateKey(r *Relation) string {
	place := 0
	for _, other := range r.Stage.Relations {
		if other == r {
			break
		}
		if _, union := other.Op.(*Union); union && other.reads() == r.reads() {
			place++
		}
	}
	return fmt.Sprintf("reached by union %d of %s", place, r.reads())
}

// reads lists the inputs of the stage that a relation depends on.
func (r *Relation) reads() string {
	all := make(map[string]bool)
	r.descend(func(r *Relation) bool {
		switch op := r.Op.(type) {
		case *Scan:
			all[op.Table.source()+"/"+op.Table.Name] = true
		case *Exchange:
			all[r.Topic()] = true
			return false
		}
		return true
	})
	return list(all)
}
