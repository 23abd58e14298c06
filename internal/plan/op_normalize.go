package plan

import "fmt"

// Normalize turns the upserts of a table into changes of its rows, as Flink's ChangelogNormalize
// does: it stores the last row of each key, so that an update retracts the row that it replaces,
// and a tombstone the row that it deletes.
type Normalize struct {
	opDefaults
	Table *Table
}

// Name implements Op.
func (*Normalize) Name() string { return "ChangelogNormalize" }

// Describe implements Op.
func (n *Normalize) Describe(r *Relation) string {
	return "ChangelogNormalize by " + listNames(r.Cols, n.Table.PrimaryKey)
}

func (n *Normalize) brief(*Relation) string { return n.Table.Name }

// Reads implements Op.
func (n *Normalize) Reads(r *Relation, _ int, need func(int)) {
	needColumns(n.Table.PrimaryKey, need)
	needPassed(r, len(r.Cols), need)
}

// Stateful implements Op.
func (*Normalize) Stateful() bool { return true }

// Signature implements Op.
func (n *Normalize) Signature(r *Relation) string {
	return "ChangelogNormalize; keys " + keySignature(r, n.Table.PrimaryKey) + "; rows of " + rowSignature(r)
}

// copies implements Op. A row equal to the previous one of its key yields nothing, but an INSERT
// that computes something from the row yields different ones forever.
func (*Normalize) copies(int) bool { return true }

// rows returns the relation of a table's rows, which all readers of the table share. Those of an
// upsert table are normalized: only a temporal join reads its scan directly.
func (p *planner) rows(t *Table) *Relation {
	scan := p.scan(t)
	if !t.Upsert {
		return scan
	}
	r := p.normalized[t]
	if r == nil {
		in := p.keyBy(scan, t.PrimaryKey)
		r = p.relation(&Normalize{Table: t}, in.Cols, in)
		r.Keyed, r.Hash, r.Key = in.Keyed, in.Hash, t.PrimaryKey
		p.normalized[t] = r
	}
	return r
}

// updatingHint returns the hint for a query that can't read updating rows: otherwise, unless they
// are those of an upsert table.
func updatingHint(r *Relation, otherwise string) string {
	n, ok := origin(r).(*Normalize)
	if !ok {
		return otherwise
	}
	return fmt.Sprintf("rows of the upsert-kafka table %s replace each other; to read each change as a row, declare topic %s with the kafka connector", n.Table.Name, n.Table.Kafka.Topic)
}
