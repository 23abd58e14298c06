package plan

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
