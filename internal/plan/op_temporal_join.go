package plan

import (
	"fmt"
	"slices"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// TemporalJoin looks up each row of the left input in the right input, a versioned table, as of the
// row's time.
type TemporalJoin struct {
	opDefaults
	Left, Right  []int // columns that must be equal; Right is the primary key
	LeftTime     int   // columns of the left and right input
	RightTime    int
	Outer        bool      // emit rows without a match, with NULL
	Cond         expr.Node // over both inputs' columns; nil is true
	RightColumns int
}

// Name implements Op.
func (*TemporalJoin) Name() string { return "Join" }

// Describe implements Op.
func (j *TemporalJoin) Describe(r *Relation) string {
	text := "Lookup"
	if j.Outer {
		text = "Outer lookup"
	}
	left, right := r.Inputs[0].Cols, r.Inputs[1].Cols
	text += fmt.Sprintf(" (%s) = (%s) as of %s", listNames(left, j.Left), listNames(right, j.Right), left[j.LeftTime].Name)
	if j.Cond != nil {
		text += " and " + j.Cond.String()
	}
	return text
}

// Reads implements Op.
func (j *TemporalJoin) Reads(r *Relation, input int, need func(int)) {
	left := len(r.Inputs[0].Cols)
	needOwn := func(i int) { // a column of the join, if it comes from this input
		if (i < left) == (input == 0) {
			need(i - input*left)
		}
	}
	if input == 0 {
		needColumns(j.Left, need)
		need(j.LeftTime)
	} else {
		needColumns(j.Right, need)
		need(j.RightTime)
	}
	needPassed(r, len(r.Cols), needOwn)
	needExpr(j.Cond, needOwn)
}

// Stateful implements Op.
func (*TemporalJoin) Stateful() bool { return true }

// Signature implements Op.
func (*TemporalJoin) Signature(r *Relation) string {
	return r.Describe() + "; rows of " + rowSignature(r.Inputs[0]) + "; versions of " + rowSignature(r.Inputs[1])
}

func (j *TemporalJoin) copies(input int) bool { return j.Outer && input == 0 }
func (*TemporalJoin) matchesNulls() bool      { return false }

// lookup binds left JOIN right FOR SYSTEM_TIME AS OF left.time ON left.k = right.k: each left row
// is joined with the version of the right row that was valid at its time.
func (p *planner) lookup(t *sql.Join, left *Relation, sc *scope) (*Relation, *scope, error) {
	right := t.Right.(*sql.TableName)
	if t.Kind != "INNER" && t.Kind != "LEFT" || t.On == nil {
		return nil, nil, sql.Errorf(t, "a lookup in a versioned table must be a JOIN or LEFT JOIN with ON")
	}
	if left.Updating {
		return nil, nil, sql.Errorf(t, "a lookup for updating rows is not supported").WithHint("%s", updatingHint(left, "join first, and group the joined rows"))
	}
	found, table, err := p.resolve(right)
	if err != nil {
		return nil, nil, err
	}
	if table != nil {
		found = p.scan(table) // its upserts are the versions
		found.Op.(*Scan).Versions = table.Upsert
	}
	versions, rightScope, err := p.aliased(found, right.Alias, right.Name[len(right.Name)-1].Name, right)
	if err != nil {
		return nil, nil, err
	}
	p.differ(right, "lookup-deletes", "a tombstone of %s takes effect at its own time; in Flink it removes the previous version as well", right.Name[len(right.Name)-1].Name)
	j := &TemporalJoin{Outer: t.Kind == "LEFT", RightColumns: len(versions.Cols)}
	if err := j.times(right, left, sc, versions); err != nil {
		return nil, nil, err
	}
	n := len(left.Cols)
	both := &scope{}
	both.cols = append(slices.Clone(sc.cols), versions.Cols...)
	both.tables = append(slices.Clone(sc.tables), scopeTable{rightScope.tables[0].alias, n, n + len(versions.Cols)})
	both.inherit(sc, 0)
	cond, err := (&binder{planner: p, scope: both}).condition(t.On, "ON")
	if err != nil {
		return nil, nil, err
	}
	if err := j.keys(t, cond, n, versions); err != nil {
		return nil, nil, err
	}
	local := left.Hash == versions.Hash && left.Hash != "" && slices.Equal(left.Keyed, j.Left) && slices.Equal(versions.Keyed, j.Right)
	if !local {
		left, versions = p.exchange(left, j.Left), p.exchange(versions, j.Right)
		versions.Updating = true
	}
	cols := slices.Clone(both.cols)
	for i := n; i < len(cols); i++ {
		cols[i].Rowtime = false
		cols[i].Type = cols[i].Type.Nullable(j.Outer || !cols[i].Type.NotNull)
	}
	r := p.relation(j, cols, left, versions)
	r.Updating = false
	r.Keyed, r.Hash = left.Keyed, left.Hash
	both.cols = cols
	return r, both, nil
}

// times finds the time columns of both sides.
func (j *TemporalJoin) times(right *sql.TableName, left *Relation, sc *scope, versions *Relation) error {
	ref, ok := right.AsOf.(*sql.ColumnRef)
	if !ok {
		return sql.Errorf(right.AsOf, "FOR SYSTEM_TIME AS OF requires the time column of the left table")
	}
	i, _, err := sc.find(ref.Parts)
	if err != nil {
		return err
	}
	if !left.Cols[i].Rowtime {
		return sql.Errorf(right.AsOf, "%s has no watermark, so no version would ever be final", left.Cols[i].Name).WithHint("declare WATERMARK FOR it in its CREATE TABLE")
	}
	j.LeftTime = i
	j.RightTime = slices.IndexFunc(versions.Cols, func(c Column) bool { return c.Rowtime })
	if scan, ok := versions.Op.(*Scan); !ok || !scan.Table.Upsert || j.RightTime < 0 {
		return sql.Errorf(right, "FOR SYSTEM_TIME AS OF requires an upsert-kafka table with PRIMARY KEY and WATERMARK").
			WithHint("for example changed_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR changed_at AS changed_at")
	}
	if left.Cols[i].Type.Kind != versions.Cols[j.RightTime].Type.Kind {
		return sql.Errorf(right.AsOf, "%s is %s but the other table's %s is %s: they must have the same type", left.Cols[i].Name, left.Cols[i].Type,
			versions.Cols[j.RightTime].Name, versions.Cols[j.RightTime].Type)
	}
	return nil
}

// keys splits the condition into one equality per primary key column and a residual condition.
func (j *TemporalJoin) keys(t *sql.Join, cond expr.Node, n int, versions *Relation) error {
	pk := versions.Op.(*Scan).Table.PrimaryKey
	j.Right = pk
	j.Left = make([]int, len(pk))
	found := make([]bool, len(pk))
	var rest []expr.Node
	for _, part := range conjuncts(cond) {
		l, r, ok := equality(part, n)
		k := slices.Index(pk, r-n)
		if !ok || k < 0 || found[k] {
			rest = append(rest, part)
			continue
		}
		j.Left[k], found[k] = l, true
	}
	if i := slices.Index(found, false); i >= 0 {
		name := versions.Cols[pk[i]].Name
		return sql.Errorf(t.On, "ON must equate a column with %s of the primary key", name).WithHint("both must have the same type")
	}
	j.Cond = conjunction(rest)
	return nil
}

// equality parses left column = right column, in either order. Right columns start at border.
func equality(n expr.Node, border int) (left, right int, ok bool) {
	c, isCall := n.(*expr.Call)
	if !isCall || c.F.Name != "=" {
		return 0, 0, false
	}
	l, lok := c.Args[0].(*expr.Col)
	r, rok := c.Args[1].(*expr.Col)
	if !lok || !rok {
		return 0, 0, false
	}
	if l.Index >= border {
		l, r = r, l
	}
	return l.Index, r.Index, l.Index < border && r.Index >= border
}
