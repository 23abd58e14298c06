package plan

import (
	"fmt"
	"slices"

	"weir.example/weir/internal/column"
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

func (j *TemporalJoin) dropsNulls(input int) bool { return input == 1 || !j.Outer }

// lookup binds left JOIN right FOR SYSTEM_TIME AS OF left.time ON left.k = right.k: each left row
// is joined with the version of the right row that was valid at its time; with a table of a
// database, at the time of the transaction.
func (p *planner) lookup(t *sql.Join, left *Relation, sc *scope) (*Relation, *scope, error) {
	right := t.Right.(*sql.TableName)
	const form = "a lookup (FOR SYSTEM_TIME AS OF) must be a JOIN or LEFT JOIN with ON"
	if t.Kind != "INNER" && t.Kind != "LEFT" {
		return nil, nil, sql.Errorf(t, form).WithHint("exchange the sides of the join; Flink does not support this either")
	}
	if t.On == nil {
		return nil, nil, sql.Errorf(t, form).WithHint("write ON l.k = r.k instead of USING (k)")
	}
	if left.Updating {
		return nil, nil, sql.Errorf(t, "a lookup for updating rows is not supported").WithHint("%s", updatingHint(left, "join first, and group the joined rows"))
	}
	found, table, err := p.resolve(right)
	if err != nil {
		return nil, nil, err
	}
	if table != nil && table.Delivery != nil {
		return p.lookupJoin(t, table, left, sc)
	}
	versions, pk, rightScope, err := p.versionsOf(right, found, table)
	if err != nil {
		return nil, nil, err
	}
	j := &TemporalJoin{Outer: t.Kind == "LEFT", RightColumns: len(versions.Cols), Right: pk}
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
	keys := &joinBinding{planner: p, left: left, right: versions}
	if err := j.keys(t, cond, keys); err != nil {
		return nil, nil, err
	}
	left = keys.left
	local := left.Hash == versions.Hash && left.Hash != "" && slices.Equal(left.Keyed, j.Left) && slices.Equal(versions.Keyed, j.Right)
	if !local {
		updating := versions.Updating || isUpsertScan(versions)
		left, versions = p.exchange(left, j.Left), p.exchange(versions, j.Right)
		versions.Updating = updating
	}
	cols := slices.Concat(left.Cols, versions.Cols)
	for i := len(left.Cols); i < len(cols); i++ {
		cols[i].Rowtime = false
		cols[i].Type = cols[i].Type.Nullable(j.Outer || !cols[i].Type.NotNull)
	}
	r := p.relation(j, cols, left, versions)
	r.Updating = false
	r.Keyed, r.Hash = left.Keyed, left.Hash
	keys.left = left
	r = keys.withoutExtra(r)
	both.cols = slices.Clone(both.cols)
	for i, c := range r.Cols {
		both.cols[i].Type, both.cols[i].Rowtime = c.Type, c.Rowtime
	}
	return r, both, nil
}

// versionsOf returns the versions of a table or view, one a row, and the columns of its key. The
// upserts of a table are its versions, and those of a view that keeps the last row of each key by
// time are the rows that it reads. found is the relation of the view, or table is set.
func (p *planner) versionsOf(right *sql.TableName, found *Relation, table *Table) (versions *Relation, key []int, sc *scope, err error) {
	name := right.Name[len(right.Name)-1].Name
	if table != nil {
		found = p.scan(table)
		p.differ(right, "lookup-deletes", "a tombstone of %s takes effect at its own time; in Flink it removes the previous version as well", name)
	}
	aliased, sc, err := p.aliased(found, right.Alias, name, right)
	if err != nil {
		return nil, nil, nil, err
	}
	var projections []*Relation
	r := aliased
	for isProjection(r) {
		projections = append(projections, r)
		r = r.Inputs[0]
	}
	var number expr.Node // replaces the row number in projections
	switch op := r.Op.(type) {
	case *Scan:
		op.Versions, key = op.Table.Upsert, op.Table.PrimaryKey
		if !op.Table.Upsert {
			return nil, nil, nil, versionedError(right)
		}
	case *Normalize:
		r, key = p.scan(op.Table), op.Table.PrimaryKey
		r.Op.(*Scan).Versions = true //nolint:forcetypeassert // of a table
		p.differ(right, "lookup-deletes", "a tombstone of %s takes effect at its own time; in Flink it removes the previous version as well", op.Table.Name)
	case *Rank:
		if !op.keepsLast(r.Inputs[0]) {
			return nil, nil, nil, versionedError(right)
		}
		number = &expr.Const{Value: int64(1), T: notNull(column.BigInt)}
		key, r = op.Partition, r.Inputs[0]
		if _, exchange := r.Op.(*Exchange); exchange {
			r = r.Inputs[0]
		}
		p.differ(right, "lookup-order", "each row that view %s reads is a version from its time on; in Flink a row that arrives after a later one of its key is none", name)
	case *Filter:
		return nil, nil, nil, sql.Errorf(right, "a versioned view with a condition on its versions is not supported").
			WithHint("write the condition in the ON of the join; in a query that numbers the rows, it would leave an earlier version in force")
	default:
		return nil, nil, nil, versionedError(right)
	}
	if number == nil && slices.ContainsFunc(projections, computes) {
		return nil, nil, nil, sql.Errorf(right, "a versioned view that computes columns of an upsert-kafka table is not supported").WithHint("compute them in the query with the join")
	}
	for _, above := range slices.Backward(projections) {
		r, key = p.projectVersions(r, above, key, number)
		if key == nil {
			return nil, nil, nil, sql.Errorf(right, "the view lacks a column of its key").WithHint("select the primary key, or the columns of PARTITION BY")
		}
	}
	sc.cols = r.Cols
	return r, key, sc, nil
}

func versionedError(where sql.Node) error {
	return sql.Errorf(where, "FOR SYSTEM_TIME AS OF requires an upsert-kafka table with PRIMARY KEY and WATERMARK, or a view of the last row of each key by time").
		WithHint("for example changed_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR changed_at AS changed_at; or SELECT … FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS n FROM t) WHERE n = 1")
}

func isProjection(r *Relation) bool {
	_, ok := r.Op.(*Project)
	return ok
}

// computes reports whether a projection has columns that are not its input's.
func computes(r *Relation) bool {
	return slices.ContainsFunc(r.Op.(*Project).Exprs, func(n expr.Node) bool { //nolint:forcetypeassert // the caller passes projections
		_, plain := n.(*expr.Col)
		return !plain
	})
}

func isUpsertScan(r *Relation) bool {
	scan, ok := origin(r).(*Scan)
	return ok && scan.Table.Upsert
}

// keepsLast reports whether the Rank is a deduplication that keeps the last row by time.
func (k *Rank) keepsLast(in *Relation) bool {
	return !in.Updating && k.End < 0 && k.Limit == 1 && len(k.Order) == 1 && k.Order[0].Desc && in.Cols[k.Order[0].Column].Rowtime
}

// projectVersions applies a view's projection to its versions. number is the value of the row
// number, which they lack; nil if they have none.
func (p *planner) projectVersions(r, projection *Relation, key []int, number expr.Node) (*Relation, []int) {
	exprs := slices.Clone(projection.Op.(*Project).Exprs) //nolint:forcetypeassert // the caller passes projections
	place := make(map[int]int)
	for i, n := range exprs {
		if number != nil {
			exprs[i] = replaceColumns(n, func(c *expr.Col) expr.Node {
				if c.Index >= len(r.Cols) {
					return number
				}
				return c
			})
		}
		if c, ok := exprs[i].(*expr.Col); ok {
			if _, seen := place[c.Index]; !seen {
				place[c.Index] = i
			}
		}
	}
	return p.project(r, names(projection.Cols), exprs), through(key, place)
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
	if left.Cols[i].Proctime {
		return sql.Errorf(right.AsOf, "a join FOR SYSTEM_TIME AS OF PROCTIME() is supported only with a table of a database ('connector' = 'jdbc')").WithHint("join as of the rows' own time; or write JOIN without FOR SYSTEM_TIME, which updates its rows when the other table changes")
	}
	if !left.Cols[i].Rowtime {
		return sql.Errorf(right.AsOf, "%s has no watermark, so no version would ever be final", left.Cols[i].Name).WithHint("declare WATERMARK FOR it in its CREATE TABLE; Flink does not support this either")
	}
	j.LeftTime = i
	j.RightTime = slices.IndexFunc(versions.Cols, func(c Column) bool { return c.Rowtime })
	if j.RightTime < 0 {
		return versionedError(right)
	}
	if left.Cols[i].Type.Kind != versions.Cols[j.RightTime].Type.Kind {
		return sql.Errorf(right.AsOf, "%s is %s but the other table's %s is %s: they must have the same type", left.Cols[i].Name, left.Cols[i].Type,
			versions.Cols[j.RightTime].Name, versions.Cols[j.RightTime].Type)
	}
	return nil
}

// keys splits the condition into one equality per column of the versions' key and a residual
// condition. An expression that is compared with a column of the key becomes a column of the left
// side.
func (j *TemporalJoin) keys(t *sql.Join, cond expr.Node, b *joinBinding) error {
	border := len(b.left.Cols)
	equal := make([]expr.Node, len(j.Right))
	var rest []expr.Node
	for _, part := range conjuncts(cond) {
		k := -1
		l, r, ok := equalSides(part, border)
		if c, isColumn := r.(*expr.Col); ok && isColumn {
			k = slices.Index(j.Right, c.Index-border)
		}
		if k < 0 || equal[k] != nil {
			rest = append(rest, part)
			continue
		}
		if equal[k] = l; l.Type().Class() == column.Floats { // NaN has a key but is not equal
			rest = append(rest, part)
		}
	}
	if i := slices.Index(equal, nil); i >= 0 {
		name := b.right.Cols[j.Right[i]].Name
		return sql.Errorf(t.On, "ON must equate a value of the left table with %s of the primary key", name).WithHint("both must have the same type; Flink does not support this either")
	}
	b.left, j.Left = b.withKeys(b.left, equal, 0)
	for i, part := range rest {
		rest[i] = b.afterExtra(part, border)
	}
	j.Cond = conjunction(rest)
	return nil
}
