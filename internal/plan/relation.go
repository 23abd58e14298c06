package plan

import (
	"time"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/format"
)

// Column of a relation.
type Column struct {
	Name string
	Type expr.Type
	// Rowtime says that the rows' watermark is about this column, so that windows can be made over
	// it.
	Rowtime bool
	// Window is the window that the column belongs to, and Role what it is of it.
	Window *Window
	Role   Role
}

// Role is what a column says of a row's window.
type Role uint8

// Roles.
const (
	NoRole Role = iota
	WindowStart
	WindowEnd
	WindowTime
)

// Relation is one operator and the rows that come out of it. Relations form a graph without cycles:
// a view that is read twice has two outputs.
type Relation struct {
	Op     Op
	Inputs []*Relation
	Cols   []Column

	// Updating says that rows may be retracted and replaced; Key then is the columns of which there
	// is one row each.
	Updating bool
	Key      []int

	// Keyed are columns whose values decide a row's partition: rows that agree in them are in one
	// task. nil where nothing is known; empty, and not nil, where all rows are in one task.
	Keyed []int
	// Hash names how the values of Keyed become a partition: two relations of one Hash have equal
	// values in the same one.
	Hash string

	// Needed says which columns somebody reads; others are not computed.
	Needed []bool

	ID    int    // place in the plan, inputs first
	Stage *Stage // where it runs
	State uint16 // first number of its entries in the task's state; 0 where it keeps none
	users int
}

// Op is what a relation does: *Scan, *Filter, *Project, *Window, *Aggregate, *Rank, *Over,
// *TemporalJoin, *Unnest, *Union, *Exchange or *Insert.
type Op interface {
	// Name is the operator's name in the plan as JSON. Programs read it, so it stays when the type
	// is renamed.
	Name() string
}

// Scan reads a topic. Its columns are those of the table.
type Scan struct {
	Table  *Table
	Filter expr.Node // rows that pass; nil is all. The watermark is made from all of them.
}

// Filter passes the rows for which Cond is true.
type Filter struct{ Cond expr.Node }

// Project computes columns.
type Project struct{ Exprs []expr.Node }

// WindowKind is the function of a window.
type WindowKind string

// Kinds of windows.
const (
	Tumble   WindowKind = "TUMBLE"
	Hop      WindowKind = "HOP"
	Cumulate WindowKind = "CUMULATE"
	Session  WindowKind = "SESSION"
)

// Window assigns rows to windows: its columns are those of the input, and window_start, window_end,
// window_time. Times are aligned in the session's time zone where Time is a TIMESTAMP_LTZ.
type Window struct {
	Kind   WindowKind
	Time   int // column of the input
	Size   time.Duration
	Slide  time.Duration // of HOP: between starts; of CUMULATE: the step
	Offset time.Duration
	Gap    time.Duration // of SESSION
	Keys   []int         // of SESSION: PARTITION BY
	Zone   expr.Zone     // nil where Time is a TIMESTAMP

	// Deferred says that the aggregate behind puts windows together: a row comes once, with the end
	// of its slice in window_end, or for a SESSION its own time. Otherwise it comes once for each
	// of its windows.
	Deferred bool
}

// Slice is the length of the pieces from which the windows are put together.
func (w *Window) Slice() time.Duration {
	switch w.Kind {
	case Hop:
		a, b := w.Size, w.Slide
		for b != 0 {
			a, b = b, a%b
		}
		return a
	case Cumulate:
		return w.Slide
	}
	return w.Size
}

// Aggregate groups rows. Its columns are the keys and then the aggregates.
type Aggregate struct {
	Keys []int // columns of the input
	Aggs []Agg
	// Window is set where Keys has start and end of a window: a group is then final when the
	// watermark passes its end. Otherwise each change of a group replaces its row.
	Window *GroupWindow
}

// GroupWindow is the window among the keys of an aggregate. Start, End and Time are places in Keys;
// Time is -1 where it is not grouped by.
type GroupWindow struct {
	*Window
	Start, End, Time int
	// Sliced says that this aggregate puts the windows together: the window is Deferred. Otherwise
	// they come whole.
	Sliced bool
}

// Agg is one aggregate function.
type Agg struct {
	Name     string // COUNT, SUM, …
	Arg      int    // column of the input; -1 for COUNT(*)
	Filter   int    // column of the input that must be true; -1 where there is none
	Distinct bool
	Type     expr.Type
	Back     int64 // of LAG: which row before
	Default  any   // and what stands for one that isn't there
}

// Rank numbers the rows of each partition by an order, and passes those up to Limit.
type Rank struct {
	Partition []int // columns of the input, without those of the window
	Order     []SortKey
	Limit     int64
	From      int64 // first number that passes, 1 where nothing says otherwise
	Number    bool  // the number is the last column
	// First says that the first row by its time passes, when the watermark has passed it, and is
	// never replaced.
	First bool
	// End is the column with the window's end: the rows of a window come out when the watermark
	// passes it. -1 where there is no window: rows come out at once and are replaced later.
	End  int
	Zone expr.Zone
}

// SortKey is one column of an order.
type SortKey struct {
	Column    int
	Desc      bool
	NullsLast bool
}

// TemporalJoin looks up each row of the left input in the right one, a versioned table, as of the
// row's time.
type TemporalJoin struct {
	Left, Right  []int // columns that must be equal; Right is the primary key
	LeftTime     int   // columns of the left and right input
	RightTime    int
	Outer        bool      // rows without a match pass, with NULL
	Cond         expr.Node // over both inputs' columns; nil is true
	RightColumns int
}

// Union passes the rows of all inputs.
type Union struct{}

// Exchange sends rows to the partition of their keys, through a topic: the end of a stage and the
// beginning of another.
type Exchange struct {
	Keys  []int
	Topic string
}

// Insert writes rows to a table. Columns[i] is the input's column for the table's column i, -1 for
// NULL.
type Insert struct {
	Table   *Table
	Columns []int
	Sink    SinkSettings // what holds where the INSERT stands

	// Exact are columns of the table whose values must have the length that the column declares.
	// They are the key under which rows replace each other, and cutting them would give rows of
	// different keys the same one.
	Exact []int
}

// Name implements Op; so do the others.
func (*Scan) Name() string         { return "Scan" }
func (*Filter) Name() string       { return "Filter" }
func (*Project) Name() string      { return "Project" }
func (*Window) Name() string       { return "Window" }
func (*Aggregate) Name() string    { return "Aggregate" }
func (*Rank) Name() string         { return "Rank" }
func (*TemporalJoin) Name() string { return "Join" }
func (*Union) Name() string        { return "Union" }
func (*Exchange) Name() string     { return "Exchange" }
func (*Insert) Name() string       { return "Insert" }

// relation makes a relation over inputs. Whether rows are updates comes from the inputs.
func (p *planner) relation(op Op, cols []Column, inputs ...*Relation) *Relation {
	r := &Relation{Op: op, Inputs: inputs, Cols: cols, ID: p.count}
	p.count++
	for _, in := range inputs {
		in.users++
		r.Updating = r.Updating || in.Updating
	}
	return r
}

// project computes columns over a relation. What is known of the input's columns goes on to those
// that only pass.
func (p *planner) project(in *Relation, names []string, exprs []expr.Node) *Relation {
	cols := make([]Column, len(exprs))
	place := make(map[int]int) // column of the input -> first of ours
	for i, e := range exprs {
		cols[i] = Column{Name: names[i], Type: e.Type()}
		if c, ok := e.(*expr.Col); ok {
			from := in.Cols[c.Index]
			cols[i].Rowtime, cols[i].Window, cols[i].Role = from.Rowtime, from.Window, from.Role
			if _, seen := place[c.Index]; !seen {
				place[c.Index] = i
			}
		}
	}
	r := p.relation(&Project{exprs}, cols, in)
	r.Keyed, r.Hash = through(in.Keyed, place), in.Hash
	for i, e := range exprs {
		if c, ok := widened(e); ok {
			if _, seen := place[c]; !seen {
				place[c] = i
			}
		}
	}
	r.Key = through(in.Key, place)
	return r
}

// widened returns the column that an expression casts to a larger integer type. Different values
// stay different, so what is unique before the cast is unique after it.
func widened(e expr.Node) (column int, ok bool) {
	cast, ok := e.(*expr.Call)
	if !ok || cast.F.Name != "CAST" && cast.F.Name != "TRY_CAST" {
		return 0, false
	}
	c, ok := cast.Args[0].(*expr.Col)
	if !ok || !c.Type().Integer() || !cast.T.Integer() || c.Type().Kind > cast.T.Kind { // kinds are in order of size
		return 0, false
	}
	return c.Index, true
}

// through maps columns to where they went; nil when one is gone.
func through(cols []int, place map[int]int) []int {
	if cols == nil {
		return nil
	}
	mapped := make([]int, len(cols))
	for i, c := range cols {
		to, ok := place[c]
		if !ok {
			return nil
		}
		mapped[i] = to
	}
	return mapped
}

func (p *planner) filter(in *Relation, cond expr.Node) *Relation {
	r := p.relation(&Filter{cond}, in.Cols, in)
	r.Keyed, r.Hash, r.Key = in.Keyed, in.Hash, in.Key
	return r
}

// scan returns the relation of a table: one for all who read it.
func (p *planner) scan(t *Table) *Relation {
	r := p.scans[t]
	if r == nil {
		p.differScan(t)
		r = p.relation(&Scan{Table: t}, t.columns())
		// A key of a registry has a schema's id in its bytes: equal keys of two schemas may lie in
		// different partitions.
		if t.Key.Name != "" && !format.HasRegistry(t.Key.Name) && !p.Settings.AnyPartition {
			r.Keyed, r.Hash = t.Key.Columns, t.Key.hash()
		}
		if t.Upsert {
			r.Updating, r.Key = true, t.PrimaryKey
		}
		p.scans[t] = r
	}
	return r
}

func names(cols []Column) []string {
	all := make([]string, len(cols))
	for i, c := range cols {
		all[i] = c.Name
	}
	return all
}

// col is a column of a relation as an expression.
func (r *Relation) col(i int) *expr.Col {
	return &expr.Col{Index: i, Name: r.Cols[i].Name, T: r.Cols[i].Type}
}
