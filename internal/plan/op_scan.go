package plan

import (
	"fmt"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/format"
)

// Scan reads a topic. Its columns are those of the table.
type Scan struct {
	opDefaults
	Table  *Table
	Filter expr.Node // nil passes all rows. Rows that it drops still advance the watermark.
	// Versions means that a temporal join reads the rows of an upsert table, so that a deletion
	// needs a time too.
	Versions bool
}

// Name implements Op.
func (*Scan) Name() string { return "Scan" }

// Describe implements Op.
func (s *Scan) Describe(r *Relation) string {
	text := fmt.Sprintf("Scan %s of %s", s.Table.Name, s.Table.topicText())
	switch g := s.Table.Generator; {
	case g != nil && g.Constant != nil:
		text += fmt.Sprintf(", constant rows: %d", len(g.Constant))
	case g != nil:
		text += fmt.Sprintf(", generated with %d rows/s", g.Rate)
	}
	if s.Filter != nil {
		text += " where " + s.Filter.String()
	}
	if s.Table.Watermark != nil {
		text += fmt.Sprintf(", watermark %s = %s", s.Table.Columns[s.Table.Rowtime].Name, s.Table.Watermark)
	}
	return text + ", reads " + r.neededNames()
}

// Reads implements Op: the scan itself reads the columns of its filter, its watermark, its primary
// key and its computed columns.
func (s *Scan) Reads(r *Relation, _ int, need func(int)) {
	needExpr(s.Filter, need)
	needExpr(s.Table.Watermark, need)
	if s.Table.Watermark != nil {
		need(s.Table.Rowtime)
	}
	if s.Table.Upsert {
		needColumns(s.Table.PrimaryKey, need)
	}
	for i, c := range s.Table.Columns {
		if r.Needed[i] {
			needExpr(c.Computed, need)
		}
	}
}

func (s *Scan) readsParts(r *Relation, _ int, need needPart) {
	needExprParts(s.Filter, need)
	needExprParts(s.Table.Watermark, need)
	if s.Table.Upsert {
		needColumns(s.Table.PrimaryKey, func(c int) { need(c, nil, nil) })
	}
	for i, c := range s.Table.Columns {
		if r.Needed[i] {
			needExprParts(c.Computed, need)
		}
	}
}

func (s *Scan) brief(*Relation) string { return s.Table.Name }

func (s *Scan) topic() string { return s.Table.Kafka.Topic }

func (s *Scan) pushFilter(_ *Relation, cond expr.Node) (below expr.Node, ok bool) {
	if s.Filter != nil {
		cond = conjunction([]expr.Node{s.Filter, cond})
	}
	s.Filter = cond
	return nil, true
}

// scan returns the relation of a table's records, which all its readers share. See rows. Each topic
// of a table has a scan with positions and watermarks of its own; their rows are united like those
// of UNION ALL.
func (p *planner) scan(t *Table) *Relation {
	r := p.scans[t]
	if r == nil && t.Parts != nil {
		var all []*Relation
		for _, part := range t.Parts {
			all = append(all, p.scan(part))
		}
		r = p.union(t.columns(), all...)
		p.scans[t] = r
	}
	if r == nil {
		p.differScan(t)
		r = p.relation(&Scan{Table: t}, t.columns())
		// Keys with a schema ID of a registry may be in different partitions although they are
		// equal, if their schemas differ.
		if t.Kafka.Key.Name != "" && !format.HasRegistry(t.Kafka.Key.Name) && !p.program.Settings.AnyPartition {
			r.Keyed, r.Hash = t.Kafka.Key.Columns, t.Kafka.Key.hash()
		}
		if t.Upsert {
			r.Updating, r.Key = true, t.PrimaryKey
		}
		p.scans[t] = r
	}
	return r
}
