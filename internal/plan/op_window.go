package plan

import (
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// WindowKind is a window function.
type WindowKind string

// Window functions.
const (
	Tumble   WindowKind = "TUMBLE"
	Hop      WindowKind = "HOP"
	Cumulate WindowKind = "CUMULATE"
	Session  WindowKind = "SESSION"
)

// Window assigns rows to windows. Its columns are those of the input, then window_start, window_end
// and window_time. Windows are aligned in the session's time zone if Time is a TIMESTAMP_LTZ.
type Window struct {
	opDefaults
	Kind   WindowKind
	Time   int // column of the input; -1 with Proctime
	Size   time.Duration
	Slide  time.Duration // of HOP: between starts; of CUMULATE: the step
	Offset time.Duration
	Gap    time.Duration // of SESSION
	Keys   []int         // of SESSION: PARTITION BY
	Zone   expr.Zone     // nil if Time is a TIMESTAMP

	// Proctime assigns rows by the clock of the transaction, which also closes the windows.
	Proctime   bool
	unassigned bool // its columns are placeholders

	// Deferred leaves the assembly of windows from slices to the aggregate: each row is emitted
	// once, with the end of its slice as window_end, or its own time for a SESSION. Otherwise a row
	// is emitted once for each of its windows.
	Deferred bool
}

// Slice is the length of the slices that windows are assembled from.
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

// Name implements Op.
func (*Window) Name() string { return "Window" }

// Describe implements Op.
func (w *Window) Describe(r *Relation) string {
	text := "Window " + w.String()
	if !w.Proctime {
		text += " over " + r.Inputs[0].Cols[w.Time].Name
	}
	if w.Deferred {
		text += ", by slices"
	}
	return text
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
	if w.Proctime {
		s += " by PROCTIME()"
	}
	return s
}

func (w *Window) brief(*Relation) string {
	return strings.ReplaceAll(strings.ReplaceAll(w.String(), "m0s", "m"), "h0m", "h") // 1m for 1m0s
}

// Reads implements Op.
func (w *Window) Reads(r *Relation, _ int, need func(int)) {
	if !w.Proctime {
		need(w.Time)
	}
	needPassed(r, len(r.Cols)-3, need)
}

func (w *Window) readsParts(r *Relation, _ int, need needPart) {
	needPassedParts(r, len(r.Cols)-3, need)
}

func (w *Window) pushFilter(r *Relation, cond expr.Node) (below expr.Node, ok bool) {
	return cond, !readsWindow(cond, r)
}

func (*Window) copies(int) bool { return true }

// windowTable binds TABLE(TUMBLE(…)) and the other window table functions.
func (p *planner) windowTable(t *sql.WindowTable) (*Relation, error) {
	in, sc, err := p.from(t.Table)
	if err != nil {
		return nil, err
	}
	time, _, err := sc.find([]sql.Ident{t.Time})
	if err != nil {
		return nil, err
	}
	w, err := p.window(t, WindowKind(t.Function), in, time, t.Args)
	if err != nil {
		return nil, err
	}
	for _, e := range t.PartitionBy {
		n, err := (&binder{planner: p, scope: sc}).bind(e)
		if err != nil {
			return nil, err
		}
		c, ok := n.(*expr.Col)
		if !ok {
			return nil, sql.Errorf(e, "PARTITION BY of a window function requires columns")
		}
		if err := checkKey(e, "PARTITION BY of", c.T); err != nil {
			return nil, err
		}
		w.Keys = append(w.Keys, c.Index)
	}
	if w.Kind != Session && len(w.Keys) > 0 {
		return nil, sql.Errorf(t.PartitionBy[0], "PARTITION BY is allowed only in SESSION").WithHint("group by these columns")
	}
	if (w.Kind == Hop || w.Kind == Cumulate) && w.Size%w.Slide != 0 {
		return nil, sql.Errorf(t, "the size of %s, %s, must be a multiple of %s", w.Kind, w.Size, w.Slide)
	}
	return p.windowed(t, in, w, "window_start", "window_end", "window_time"), nil
}

// windowed adds the columns of a window to a relation.
func (p *planner) windowed(where sql.Node, in *Relation, w *Window, start, end, time string) *Relation {
	wall := column.Type{Kind: column.Timestamp, Precision: 3, NotNull: true}
	moment := Column{Name: time, Type: proctime, Proctime: w.Proctime, Rowtime: !w.Proctime, Window: w, Role: WindowTime}
	if !w.Proctime {
		moment.Type = in.Cols[w.Time].Type.Nullable(false)
		moment.Type.Precision = 3
	}
	cols := append([]Column{}, in.Cols...)
	for i := range cols {
		cols[i].Rowtime = false // replaced by the window's time
	}
	cols = append(cols,
		Column{Name: start, Type: wall, Window: w, Role: WindowStart}, Column{Name: end, Type: wall, Window: w, Role: WindowEnd},
		moment)
	if w.unassigned {
		return p.placeholders(where, in, cols)
	}
	r := p.relation(w, cols, in)
	r.Keyed, r.Hash = in.Keyed, in.Hash
	return r
}

// window checks the time column and the lengths of a window.
func (p *planner) window(where sql.Node, kind WindowKind, in *Relation, timeColumn int, args []sql.Expr) (*Window, error) {
	if in.Updating {
		return nil, sql.Errorf(where, "windows over updating rows are not supported").WithHint("%s", updatingHint(in, "assign the window in the subquery, and group by it there"))
	}
	c := in.Cols[timeColumn]
	if c.Proctime && kind == Session {
		return nil, sql.Errorf(where, "a SESSION over %s, which is PROCTIME(), is not supported", c.Name).WithHint(usesProctime)
	}
	if !c.Rowtime && !c.Proctime {
		return nil, sql.Errorf(where, "%s has no watermark, so a window over it would never be complete", c.Name).
			WithHint("declare WATERMARK FOR %s AS … in its CREATE TABLE and select the column unchanged", c.Name)
	}
	w := &Window{Kind: kind, Time: timeColumn}
	if c.Proctime {
		w.Time, w.Proctime, w.unassigned = -1, true, true
	}
	if c.Type.Kind == column.TimestampLTZ {
		w.Zone = p.program.Zone
	}
	var lengths []time.Duration
	for i, e := range args {
		d, err := p.length(e)
		if err != nil {
			return nil, err
		}
		isOffset := i == map[WindowKind]int{Tumble: 1, Session: 1, Hop: 2, Cumulate: 2}[kind]
		if d <= 0 && !isOffset {
			return nil, sql.Errorf(e, "a window's length must be positive")
		}
		lengths = append(lengths, d)
	}
	short := func(n int) bool { return len(lengths) < n || len(lengths) > n+1 || kind == Session && len(lengths) > 1 }
	switch kind {
	case Tumble:
		if short(1) {
			return nil, sql.Errorf(where, "TUMBLE takes the time column, the size and optionally an offset")
		}
		w.Size, w.Slide = lengths[0], lengths[0]
		lengths = lengths[1:]
	case Session:
		if short(1) {
			return nil, sql.Errorf(where, "SESSION takes the time column and the gap")
		}
		w.Gap = lengths[0]
		p.differWindow(where, w)
		return w, nil
	default:
		if short(2) {
			return nil, sql.Errorf(where, "%s takes the time column, the %s, the size and optionally an offset", kind, map[WindowKind]string{Hop: "slide", Cumulate: "step"}[kind])
		}
		w.Slide, w.Size = lengths[0], lengths[1]
		lengths = lengths[2:]
		if n := (w.Size + w.Slide - 1) / w.Slide; n > maxPanes {
			return nil, sql.Errorf(args[0], "a row would be in %d windows, but the maximum is %d", n, maxPanes).
				WithHint("make the %s at least %s, or the size at most %s", map[WindowKind]string{Hop: "slide", Cumulate: "step"}[kind], (w.Size+maxPanes-1).Truncate(time.Millisecond)/maxPanes, w.Slide*maxPanes)
		}
	}
	if len(lengths) == 1 {
		w.Offset = lengths[0]
	}
	p.differWindow(where, w)
	return w, nil
}

// maxPanes limits how many windows of HOP or CUMULATE a row can be in: it is emitted once for each
// of them.
const maxPanes = 10_000

// length binds a constant interval of whole milliseconds.
func (p *planner) length(e sql.Expr) (time.Duration, error) {
	n, err := (&binder{planner: p}).bind(e)
	if err != nil {
		return 0, err
	}
	k, ok := expr.Fold(n).(*expr.Const)
	if !ok || k.T.Kind != column.IntervalDay {
		return 0, sql.Errorf(e, "a window's length must be a constant interval of days to seconds").WithHint("for example INTERVAL '5' MINUTE")
	}
	us := k.Value.(int64)
	if us%1000 != 0 {
		return 0, sql.Errorf(e, "a window's length must be a whole number of milliseconds")
	}
	return time.Duration(us) * time.Microsecond, nil
}

// groupWindow returns the legacy group window TUMBLE(ts, INTERVAL …), HOP or SESSION of GROUP BY.
func groupWindow(e sql.Expr) (*sql.Call, bool) {
	c, ok := e.(*sql.Call)
	if !ok {
		return nil, false
	}
	switch strings.ToUpper(c.Name) {
	case "TUMBLE", "HOP", "SESSION":
		return c, true
	}
	return nil, false
}

// auxiliary returns the window function and the column that TUMBLE_START and similar functions
// refer to.
func auxiliary(name string) (kind WindowKind, role Role) {
	for _, k := range []WindowKind{Tumble, Hop, Session} {
		switch rest, ok := strings.CutPrefix(name, string(k)+"_"); {
		case !ok:
		case rest == "START":
			return k, WindowStart
		case rest == "END":
			return k, WindowEnd
		case rest == "ROWTIME", rest == "PROCTIME":
			return k, WindowTime
		}
	}
	return "", NoRole
}

// findSession reports whether r reads the rows of an ungrouped SESSION window.
func findSession(r *Relation) (found bool) {
	r.descend(func(r *Relation) bool {
		switch op := r.Op.(type) {
		case *Window:
			found = found || op.Kind == Session
			return false
		case *Aggregate:
			return op.Window == nil
		}
		return true
	})
	return found
}
