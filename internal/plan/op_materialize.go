package plan

// Materialize orders the changes of a table's rows by primary key before they are written. Changes
// of one row may come from several tasks, in any order: a join sends the old and the new version of
// a row to the partitions of its equal columns, which may have changed. Materialize keeps all rows
// of a key that are not retracted, and passes the last of them, like Flink's
// SinkUpsertMaterializer.
type Materialize struct {
	opDefaults
	Keys []int // columns of the input
}

// Name implements Op.
func (*Materialize) Name() string { return "SinkUpsertMaterializer" }

// Describe implements Op.
func (m *Materialize) Describe(r *Relation) string {
	return "Last row of each (" + listNames(r.Inputs[0].Cols, m.Keys) + ")"
}

// Reads implements Op.
func (m *Materialize) Reads(r *Relation, _ int, need func(int)) {
	needColumns(m.Keys, need)
	needPassed(r, len(r.Cols), need)
}

// Stateful implements Op.
func (*Materialize) Stateful() bool { return true }

// Signature implements Op.
func (m *Materialize) Signature(r *Relation) string {
	return r.Describe() + "; keys " + keySignature(r.Inputs[0], m.Keys) + "; rows of " + rowSignature(r.Inputs[0])
}

func (*Materialize) copies(int) bool { return true }

// materialize returns the rows in an order in which they can be written to an upsert table with
// the given columns as its primary key.
func (p *planner) materialize(r *Relation, keys []int) *Relation {
	if r.Key != nil && (!r.Scattered || r.Keyed != nil && subset(r.Keyed, r.Key)) {
		return r // one task has all changes of a key, in order
	}
	in := r
	if r.Keyed == nil || !subset(r.Keyed, keys) {
		in = p.exchange(r, keys)
	}
	m := p.relation(&Materialize{Keys: keys}, r.Cols, in)
	m.Keyed, m.Hash, m.Key = in.Keyed, in.Hash, keys
	return m
}
