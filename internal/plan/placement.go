package plan

import (
	"slices"

	"weir.example/weir/internal/sql"
)

// exchanged is the Hash of rows partitioned by an exchange.
const exchanged = "weir"

// keyPartitioning is the setting for how producers partition keys: murmur2, the default of Kafka's
// Java client, or any.
const keyPartitioning = "weir.key-partitioning"

// Placement is the partitioning that a relation relies on instead of an exchange: rows with equal
// Columns are in the same partition, the one that Kafka's Java client chooses for the key's
// canonical encoding.
type Placement struct {
	Columns []int    // of the input, in the order of the key's fields
	Tables  []*Table // tables that the rows come from; their keys have the same encoding
	Nulls   bool     // NULL keys match each other
}

// Placement returns the partitioning that the relation relies on for an input. It is nil if the
// rows come from an exchange, if the operator is stateless, or if an operator below already relies
// on it.
func (r *Relation) Placement(input int) *Placement {
	in := r.Inputs[input]
	if j, ok := r.Op.(*RegularJoin); ok && j.Broadcast {
		return nil
	}
	if !r.Op.Stateful() || in.Keyed == nil || in.Hash == "" || in.Hash == exchanged {
		return nil
	}
	tables := tablesBelow(in)
	if len(tables) == 0 {
		return nil
	}
	return &Placement{Columns: in.Keyed, Tables: tables, Nulls: r.Op.matchesNulls() || r.nullsMeet && !r.Op.dropsNulls(input)}
}

// placeNulls marks relations that pass rows with NULL keys to a relation above them that combines
// such rows without an exchange: a join among them does not rely on their partitions itself.
func (p *planner) placeNulls() {
	p.program.visit(func(r *Relation) {
		if r.Op.Stateful() && r.Op.matchesNulls() {
			for _, in := range r.Inputs {
				in.placeNulls()
			}
		}
	})
}

func (r *Relation) placeNulls() {
	if len(r.Keyed) == 0 || r.Hash == exchanged || r.nullsMeet {
		return
	}
	r.nullsMeet = true
	for i, in := range r.Inputs {
		if !r.Op.dropsNulls(i) {
			in.placeNulls()
		}
	}
}

// Home returns the placement of a relation's state for an input: the partition of a topic's key,
// even if the rows come from other stateful relations. It is nil if the rows come from an exchange
// or if nothing is known.
func (r *Relation) Home(input int) *Placement {
	in := r.Inputs[input]
	if in.Keyed == nil || in.Hash == "" || in.Hash == exchanged {
		return nil
	}
	table := in.hashedBy(in.Hash)
	if table == nil {
		return nil
	}
	return &Placement{Columns: in.Keyed, Tables: []*Table{table}, Nulls: r.Op.matchesNulls()}
}

// hashedBy returns a table read by the relation whose keys are encoded as in hash; nil if there is
// none.
func (r *Relation) hashedBy(hash string) (table *Table) {
	r.descend(func(r *Relation) bool {
		scan, ok := r.Op.(*Scan)
		if ok && table == nil && scan.Table.Kafka.Key.Name != "" && scan.Table.Kafka.Key.hash() == hash {
			table = scan.Table
		}
		_, exchange := r.Op.(*Exchange)
		return !exchange && table == nil
	})
	return table
}

// tablesBelow returns the tables whose rows reach a relation through stateless operators.
func tablesBelow(r *Relation) (all []*Table) {
	r.descend(func(r *Relation) bool {
		switch op := r.Op.(type) {
		case *Scan:
			if !slices.Contains(all, op.Table) {
				all = append(all, op.Table)
			}
		case *Exchange:
			return false
		}
		return !r.Op.Stateful()
	})
	return all
}

// Placements returns the placements of all relations, inputs first.
func (p *Program) Placements() []*Placement {
	var all []*Placement
	p.visit(func(r *Relation) {
		for i := range r.Inputs {
			if at := r.Placement(i); at != nil {
				all = append(all, at)
			}
		}
	})
	return all
}

// differPlacements records the topics whose partitioning the pipeline relies on.
func (p *planner) differPlacements() {
	for _, at := range p.program.Placements() {
		t := at.Tables[0]
		p.differ(t, "key-partitioning", "the pipeline relies on murmur2, the hash of Kafka's Java client, for the partition of each key in topic %s, and stops at a record in another one; "+
			"Flink repartitions, as SET '%s' = 'any' does here", t.Kafka.Topic, keyPartitioning)
	}
}

// setPlacement applies the setting before tables are bound, regardless of its position in the file.
func (p *planner) setPlacement(script *sql.Script) error {
	var first *sql.Set
	for _, s := range script.Statements {
		set, ok := s.(*sql.Set)
		if !ok || set.Key != keyPartitioning {
			continue
		}
		if set.Value != "any" && set.Value != "murmur2" {
			return sql.Errorf(set, "invalid value '%s' for '%s'", set.Value, set.Key).
				WithHint("use 'murmur2' (the default: keys are where Kafka's Java client puts them) or 'any' (rows are repartitioned by key)")
		}
		if first != nil && first.Value != set.Value {
			return sql.Errorf(set, "'%s' is '%s' in line %d, but a pipeline can have only one value for it", set.Key, first.Value, first.Line)
		}
		first = set
		p.program.Settings.AnyPartition = set.Value == "any"
	}
	return nil
}
