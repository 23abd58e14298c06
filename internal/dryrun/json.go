package dryrun

import (
	"slices"

	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
)

// withJSON returns a program whose tables hold JSON where p's formats need a schema registry: a dry
// run tests the SQL, and its rows are JSON. It returns p itself if no table needs a registry, and a
// copy otherwise.
func withJSON(p *plan.Program) *plan.Program {
	if !slices.ContainsFunc(p.Tables, needsRegistry) {
		return p
	}
	c := copier{
		tables:    make(map[*plan.Table]*plan.Table),
		relations: make(map[*plan.Relation]*plan.Relation),
		stages:    make(map[*plan.Stage]*plan.Stage),
	}
	copied := *p
	copied.Tables = each(p.Tables, c.table)
	copied.Sinks = each(p.Sinks, c.relation)
	copied.Stages = each(p.Stages, c.stage)
	return &copied
}

func needsRegistry(t *plan.Table) bool {
	return format.HasRegistry(t.Kafka.Key.Name) || format.HasRegistry(t.Kafka.Value.Name)
}

// copier copies a program. Each table, relation and stage is copied once, so that the copies refer
// to each other as the originals do.
type copier struct {
	tables    map[*plan.Table]*plan.Table
	relations map[*plan.Relation]*plan.Relation
	stages    map[*plan.Stage]*plan.Stage
}

func (c *copier) table(t *plan.Table) *plan.Table {
	if copied := c.tables[t]; copied != nil {
		return copied
	}
	copied, kafka := *t, *t.Kafka
	copied.Kafka = &kafka
	for _, f := range []*plan.Format{&kafka.Key, &kafka.Value} {
		if format.HasRegistry(f.Name) {
			f.Name, f.Options = "json", nil
		}
	}
	c.tables[t] = &copied
	return &copied
}

func (c *copier) relation(r *plan.Relation) *plan.Relation {
	if copied := c.relations[r]; copied != nil || r == nil {
		return copied
	}
	copied := *r
	c.relations[r] = &copied
	copied.Inputs = each(r.Inputs, c.relation)
	copied.Stage = c.stage(r.Stage)
	switch op := r.Op.(type) {
	case *plan.Scan:
		scan := *op
		scan.Table = c.table(op.Table)
		copied.Op = &scan
	case *plan.Insert:
		insert := *op
		insert.Table = c.table(op.Table)
		copied.Op = &insert
	}
	return &copied
}

func (c *copier) stage(s *plan.Stage) *plan.Stage {
	if copied := c.stages[s]; copied != nil || s == nil {
		return copied
	}
	copied := *s
	c.stages[s] = &copied
	copied.Relations = each(s.Relations, c.relation)
	copied.Inputs = each(s.Inputs, c.relation)
	copied.Outputs = each(s.Outputs, c.relation)
	return &copied
}

// each applies f to each element of a slice.
func each[T any](all []T, f func(T) T) []T {
	mapped := make([]T, len(all))
	for i, v := range all {
		mapped[i] = f(v)
	}
	return mapped
}
