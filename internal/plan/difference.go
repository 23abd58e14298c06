package plan

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// Difference is a behaviour of a pipeline that differs from Flink's, or that Flink doesn't support.
// docs/reference/flink-differences.md describes each under its name.
type Difference struct {
	sql.Pos // of its first occurrence
	Name    string
	Message string
}

// DifferenceNames returns the names of all differences.
func DifferenceNames() []string {
	return []string{
		"averages-over", "current-watermark", "database-guarantee", "database-types", "datagen", "dead-letters", "distinct-lists", "distinct-rows", "empty-queries", "files", "first-and-last", "group-changes", "joined-sessions", "json-returning", "key-partitioning", "lag-default", "late-rows", "lateral-aggregates", "lengths", "list-order", "local-times", "lookup-deletes", "lookup-order", "lookup-time", "max-ahead", "misplaced-values", "missing-keys", "more-connectors", "moving-sums", "multiset-elements", "multiset-order", "null-headers", "peers-of-processing-time", "print", "qualify-columns", "regular-expressions", "repeated-keys", "sessions-again", "sqlite", "state-ttl", "time-zones", "transaction-time", "variance", "watermarks", "window-offsets", "windows-of-processing-time",
	}
}

// differ records a difference, once per name.
func (p *planner) differ(where sql.Node, name, format string, args ...any) {
	if !slices.ContainsFunc(p.program.Differences, func(d Difference) bool { return d.Name == name }) {
		p.program.Differences = append(p.program.Differences, Difference{where.At(), name, fmt.Sprintf(format, args...)})
	}
}

// differCall records how a call treats local times that occur twice or never, and that it writes a
// MULTISET as text. Each occurrence of local times is recorded, since the rules may differ.
func (p *planner) differCall(where sql.Node, n expr.Node) {
	if call, ok := n.(*expr.Call); ok {
		p.differLocal(where, call.LocalTime())
		if call.T.Kind == column.String && len(call.Args) == 1 && call.Args[0].Type().Has(isMultiset) {
			p.differ(where, "multiset-order", "a MULTISET is text in the order of its values; Flink writes them in the order of a hash table")
		}
	}
}

func (p *planner) differLocal(where sql.Node, rule string) {
	d := Difference{where.At(), "local-times", rule}
	if rule != "" && !slices.Contains(p.program.Differences, d) {
		p.program.Differences = append(p.program.Differences, d)
	}
}

// differScan records the treatment of records that can't be decoded or have no key.
func (p *planner) differScan(t *Table) {
	if t.Generator != nil {
		p.differ(t, "datagen", "the rows of %s pass through a topic, so that each is there once; after a failure, Flink generates others in place of those since the last checkpoint", t.Name)
		return
	}
	switch ignored := strings.EqualFold(t.Kafka.Value.Options["ignore-parse-errors"], "true"); {
	case ignored && t.Kafka.Value.Name == "csv": // as in Flink
	case ignored:
		p.differ(t, "misplaced-values", "if a record of %s has an array or object instead of a number, only that value is NULL; Flink's parser loses its position and continues inside it", t.Name)
	default:
		p.differ(t, "dead-letters", "a record of %s that can't be decoded becomes a dead letter; Flink's job keeps failing until '%s.ignore-parse-errors' is set", t.Name, t.Kafka.Value.Name)
	}
	if fromKey := func(c int) bool { return !slices.Contains(t.Kafka.Value.Columns, c) }; !t.Upsert && t.Kafka.Key.Name != "raw" && slices.ContainsFunc(t.Kafka.Key.Columns, fromKey) {
		p.differ(t, "missing-keys", "a record of %s without a key is a row whose key columns are NULL; Flink drops it unless the key's format is raw", t.Name)
	}
}

// differInsert records differences in the records that an INSERT writes for the rows of r.
func (p *planner) differInsert(where sql.Node, n *Insert, r *Relation) {
	for i, c := range n.Table.Columns {
		if c.Metadata == "headers" && n.Columns[i] >= 0 {
			p.differ(where, "null-headers", "a header of %s whose value is NULL is written; Flink omits it", n.Table.Name)
		}
	}
	switch n.Table.Delivery.(type) {
	case *JDBC:
		p.differDatabase(where, n.Table)
	case *Print:
		p.differ(where, "print", "rows of %s are printed where the pipeline runs, once they are committed; Flink prints them as they are computed, where its TaskManagers run", n.Table.Name)
	case *SQLite:
		p.differ(where, "sqlite", "Flink's jdbc connector does not know SQLite, and rejects table %s", n.Table.Name)
	}
	if connector := OnlyInWeir(n.Table.Delivery); connector != "" {
		p.differ(where, "more-connectors", "Flink has no connector %s, and rejects table %s: let it write to a topic, and weir run take the rows from there", connector, n.Table.Name)
	}
	if f, ok := n.Table.Delivery.(*Files); ok {
		p.differ(where, "files", "rows of %s appear in files when these have their size or age; Flink's %s files appear at checkpoints, have other names, and may have other types", n.Table.Name, f.Format)
	}
	if _, upserts := origin(r).(*Normalize); upserts {
		p.differ(where, "group-changes", "of several changes of a row in one transaction, the last one is written; Flink writes each")
	}
	if len(n.Exact) > 0 {
		c := n.Table.Columns[n.Exact[0]]
		p.differ(where, "lengths", "a row whose key does not fit column %s %s of %s is a dead letter; Flink truncates the key, and rows with different keys replace each other", c.Name, c.Type.Nullable(true), n.Table.Name)
	}
}

// differDatabase records how rows of a database differ.
func (p *planner) differDatabase(where sql.Node, t *Table) {
	if t.Upsert {
		p.differ(where, "database-guarantee", "each row of %s is written exactly once; Flink's jdbc connector writes at least once, and rows of its key replace each other", t.Name)
	} else {
		p.differ(where, "database-guarantee", "each row of %s is written exactly once; Flink's jdbc connector writes at least once: without a primary key, rows are doubled after a failure", t.Name)
	}
	p.differTypes(where, t, "write")
}

// differTypes records columns of a database that Flink's connector does not have.
func (p *planner) differTypes(where sql.Node, t *Table, do string) {
	for _, c := range t.Columns {
		if k := c.Type.Kind; c.Physical() && (c.Type.Nested() || k == column.TimestampLTZ) {
			p.differ(where, "database-types", "column %s of %s is %s; Flink's jdbc connector can't %s such columns of PostgreSQL", c.Name, t.Name, c.Type.Nullable(true), do)
		}
	}
}

func (p *planner) differWindow(where sql.Node, w *Window) {
	if expr.SetsClocks(w.Zone) {
		rule := "a window over the hour that occurs twice in %s covers both, and stays open until its second occurrence ends; a window over a skipped hour has no rows"
		if w.Kind == Session {
			rule = "the start and end of a window are local times of %s: two windows in the hour that occurs twice can have the same ones"
		}
		p.differLocal(where, fmt.Sprintf(rule, w.Zone))
	}
	if w.Offset != 0 {
		p.differ(where, "window-offsets", "Flink 2.2 can lose rows of windows with an offset: it closes them only when a window without an offset ends")
	}
	if w.Proctime {
		p.differ(where, "windows-of-processing-time", "a row belongs to the window in which its transaction has begun, as of the clock of the task that groups it; when the input ends, the last windows are emitted, which Flink drops")
		return
	}
	p.differLate(where, "whose windows have closed")
}

// differLate records which rows are late, described by what follows "a row", and what happens to
// them.
func (p *planner) differLate(where sql.Node, which string) {
	p.differ(where, "late-rows", "a row %s goes to the late-rows topic; Flink drops it", which)
	p.differ(where, "watermarks", "each partition has its own watermark; Flink uses the minimum over all partitions, so different rows are late")
}

// differRows records rows that Flink would not write to an append-only table.
func (p *planner) differRows(where sql.Node, r *Relation) {
	r.descend(func(r *Relation) bool {
		if a, ok := r.Op.(*Aggregate); ok && a.Window == nil && len(a.Aggs) == 0 {
			p.differ(where, "distinct-rows", "rows of DISTINCT or UNION are written to a table without a key; Flink rejects this because it treats them as updating rows")
		}
		return true
	})
}

// differOver records differences of functions with OVER.
func (p *planner) differOver(where sql.Node, o *Over) {
	if o.Arrival && !o.Frame.Rows && !o.Frame.Unbounded {
		p.differ(where, "peers-of-processing-time", "a RANGE over PROCTIME() includes all rows of the transaction, which have the same time; Flink includes the rows of the same millisecond")
	}
	if !o.Arrival {
		p.differLate(where, "that arrives after its time has been computed")
	}
	for _, a := range o.Aggs {
		if a.Name == "AVG" && a.Type.Integer() {
			p.differ(where, "averages-over", "AVG OVER of integers sums as BIGINT; Flink sums in the column's type, which overflows")
		}
		if floats := a.Type.Kind == column.Double || a.Type.Kind == column.Float; floats && !o.Frame.Unbounded && (a.Name == "SUM" || a.Name == "AVG" || strings.HasPrefix(a.Name, "STDDEV") || strings.HasPrefix(a.Name, "VAR")) {
			p.differ(where, "moving-sums", "%s OVER sums the rows of each frame; Flink subtracts the rows that leave it, and keeps their rounding errors", a.Name)
		}
	}
}

// differGroup records differences of grouping with these aggregates.
func (p *planner) differGroup(where sql.Node, r *Relation) {
	a := r.Op.(*Aggregate)
	if a.Window == nil && len(a.Aggs) > 0 {
		p.differ(where, "group-changes", "the row of a group is written once per transaction in which it changed; Flink writes it at each change")
	}
	for _, g := range a.Aggs {
		switch g.Name {
		case "VAR_POP", "VAR_SAMP", "STDDEV_POP", "STDDEV_SAMP":
			if g.Type.Kind == column.Double || g.Type.Kind == column.Float || g.Type.Kind == column.Decimal {
				p.differ(where, "variance", "variance and deviation are exact; Flink's last digits can differ")
			}
		case "JSON_OBJECTAGG":
			p.differ(where, "repeated-keys", "a row that repeats a key of its JSON_OBJECTAGG is a dead letter; Flink's job fails")
		case "ARRAY_AGG", "JSON_ARRAYAGG", "LISTAGG":
			if a.Window != nil && a.Window.Kind == Hop && g.Distinct {
				p.differ(where, "distinct-lists", "Flink 2.2 doesn't support %s of DISTINCT values in HOP windows and rejects this", g.Name)
			}
			if a.Window != nil && a.Window.Kind == Hop && !g.Distinct {
				p.differ(where, "list-order", "%s lists the rows of a HOP window in the order of time; Flink lists its last slice first", g.Name)
			}
			if g.Retracts {
				p.differ(where, "list-order", "%s of rows that are updated sorts its values; Flink appends a row whenever it is updated", g.Name)
			}
		case "FIRST_VALUE", "LAST_VALUE":
			if a.Window != nil && a.Window.Kind != Tumble {
				p.differ(where, "first-and-last", "Flink 2.2 doesn't support %s in %s windows and rejects this; TUMBLE works in both", g.Name, a.Window.Kind)
			}
		}
	}
}
