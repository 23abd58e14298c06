package plan

import (
	"slices"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// joinTree is FROM before its joins become relations: a table, or a join of two trees. The
// conditions of ON and WHERE are first distributed over the tree, so that each is evaluated as
// early as possible and joins find their equal columns.
type joinTree struct {
	where sql.Node
	sc    *scope // columns of the left tree, then of the right one

	table *Relation // nil for a join
	rows  *joinTree // whose rows this tree has, joined with queries that are used as values; nil for others

	kind        JoinKind
	left, right *joinTree
	on          []expr.Node       // over the columns of both
	ttl         [2]*time.Duration // of the rows of each side, from a hint

	after []expr.Node // filters of the tree's rows
}

// joinKinds maps the words of JOIN to kinds.
var joinKinds = map[string]JoinKind{"CROSS": InnerJoin, "INNER": InnerJoin, "LEFT": LeftJoin, "RIGHT": RightJoin, "FULL": FullJoin}

// fromTree binds the tables of FROM, which commas join like CROSS JOIN.
func (p *planner) fromTree(tables []sql.TableRef) (*joinTree, error) {
	tree, err := p.tree(tables[0])
	if err != nil {
		return nil, err
	}
	for i, next := range tables[1:] {
		if d, ok := next.(*sql.Derived); ok && d.Lateral {
			before := tables[0]
			if i > 0 {
				before = nil
			}
			if tree, err = p.lateral(next, InnerJoin, tree, before, d); err != nil {
				return nil, err
			}
			continue
		}
		if u, ok := next.(*sql.Unnest); ok {
			if tree, err = p.expanded(&sql.Join{Pos: u.Pos, Kind: "CROSS", Right: u}, tree); err != nil {
				return nil, err
			}
			continue
		}
		right, err := p.tree(next)
		if err != nil {
			return nil, err
		}
		tree = joined(next, InnerJoin, tree, right)
	}
	return tree, nil
}

// tree binds one table of FROM.
func (p *planner) tree(t sql.TableRef) (*joinTree, error) {
	j, ok := t.(*sql.Join)
	if !ok {
		r, sc, err := p.from(t)
		if err != nil {
			return nil, err
		}
		return &joinTree{where: t, sc: sc, table: r}, nil
	}
	left, err := p.tree(j.Left)
	if err != nil {
		return nil, err
	}
	if lookup, ok := j.Right.(*sql.TableName); ok && lookup.AsOf != nil {
		return p.expanded(j, left)
	}
	if _, ok := j.Right.(*sql.Unnest); ok {
		return p.expanded(j, left)
	}
	tree, err := p.joinOf(j, left)
	if err != nil {
		return nil, err
	}
	columns := j.Using
	if tree.table != nil && (j.Natural || len(columns) > 0) {
		return nil, sql.Errorf(j, "USING and NATURAL are not supported with a LATERAL Top-N").WithHint("write ON TRUE")
	}
	if j.Natural {
		if columns, err = natural(j, tree.left.sc, tree.right.sc); err != nil {
			return nil, err
		}
	}
	if len(columns) > 0 {
		return tree, p.using(tree, columns)
	}
	if j.On == nil {
		return tree, nil
	}
	if tree, err = p.withValuesOfOn(tree, j.On); err != nil {
		return nil, err
	}
	cond, err := (&binder{planner: p, scope: tree.sc}).condition(j.On, "ON")
	if err != nil {
		return nil, err
	}
	for _, part := range conjuncts(cond) {
		if tree.table != nil || tree.kind != joinKinds[j.Kind] { // LATERAL: a Top-N is no join, aggregates are a left join
			tree.addFilter(part)
			continue
		}
		if k, ok := part.(*expr.Const); ok && k.Value == true {
			continue
		}
		tree.addOn(part)
	}
	return tree, nil
}

// joinOf joins a tree with the right table of a JOIN, without its condition.
func (p *planner) joinOf(j *sql.Join, left *joinTree) (*joinTree, error) {
	if d, ok := j.Right.(*sql.Derived); ok && d.Lateral {
		return p.lateral(j, joinKinds[j.Kind], left, j.Left, d)
	}
	right, err := p.tree(j.Right)
	if err != nil {
		return nil, err
	}
	return joined(j, joinKinds[j.Kind], left, right), nil
}

// natural returns the columns that both sides have, in the order of the left one.
func natural(j *sql.Join, left, right *scope) ([]sql.Ident, error) {
	of := func(s *scope) ([]string, error) {
		positions, err := s.positions(&sql.Star{Pos: j.Pos})
		all := make([]string, len(positions))
		for i, c := range positions {
			all[i] = s.cols[c].Name
		}
		return all, err
	}
	l, err := of(left)
	if err != nil {
		return nil, err
	}
	r, err := of(right)
	if err != nil {
		return nil, err
	}
	var common []sql.Ident
	for _, name := range l {
		if slices.Contains(r, name) {
			common = append(common, sql.Ident{Pos: j.Pos, Name: name})
		}
	}
	return common, nil
}

// using equates the columns of USING or NATURAL. A name without a table means the column of the
// side that always has one, and after a FULL JOIN the one that is not NULL.
func (p *planner) using(tree *joinTree, columns []sql.Ident) error {
	for _, name := range columns {
		l, _, err := tree.left.sc.find([]sql.Ident{name})
		if err != nil {
			return err
		}
		r, _, err := tree.right.sc.find([]sql.Ident{name})
		if err != nil {
			return err
		}
		r += tree.border()
		left, err := tree.sc.value(l, p.program.Zone)
		if err != nil {
			return at(name, err)
		}
		right, err := tree.sc.value(r, p.program.Zone)
		if err != nil {
			return at(name, err)
		}
		equal, err := expr.Bind("=", p.program.Zone, left, right)
		if err != nil {
			return at(name, err)
		}
		switch tree.kind {
		case RightJoin:
			l, r = r, l
		case FullJoin:
			tree.sc.coalesce(l, append([]int{r}, tree.sc.full[r]...)...)
		}
		tree.sc.using = append(slices.DeleteFunc(tree.sc.using, func(i int) bool { return i == l || i == r }), l)
		tree.sc.merge(r)
		tree.addOn(equal)
	}
	return nil
}

// expanded joins a tree with an array or a versioned table, which read the rows of the left side.
func (p *planner) expanded(j *sql.Join, left *joinTree) (*joinTree, error) {
	in, err := p.lower(left)
	if err != nil {
		return nil, err
	}
	var r *Relation
	var sc *scope
	if u, ok := j.Right.(*sql.Unnest); ok {
		r, sc, err = p.unnest(j, u, in, left.sc)
	} else {
		r, sc, err = p.lookup(j, in, left.sc)
	}
	if err != nil {
		return nil, err
	}
	return &joinTree{where: j, sc: sc, table: r}, nil
}

// joined returns the join of two trees. The columns of a side are nullable if its rows may be
// missing.
func joined(where sql.Node, kind JoinKind, left, right *joinTree) *joinTree {
	if kind.LeftOnly() {
		return &joinTree{where: where, sc: left.sc, kind: kind, left: left, right: right}
	}
	sc := &scope{}
	border := len(left.sc.cols)
	for i, c := range slices.Concat(left.sc.cols, right.sc.cols) {
		optional := kind.Keeps(1)
		if i >= border {
			optional = kind.Keeps(0)
		}
		c.Type = c.Type.Nullable(optional || !c.Type.NotNull)
		sc.cols = append(sc.cols, c)
	}
	sc.tables = slices.Clone(left.sc.tables)
	for _, t := range right.sc.tables {
		sc.tables = append(sc.tables, scopeTable{t.alias, t.first + border, t.end + border})
	}
	sc.inherit(left.sc, 0)
	sc.inherit(right.sc, border)
	return &joinTree{where: where, sc: sc, kind: kind, left: left, right: right}
}

// border returns the position of the right side's first column.
func (t *joinTree) border() int { return len(t.left.sc.cols) }

// addOn adds a condition of ON. One that reads a single side filters that side's rows if rows
// without a match are dropped.
func (t *joinTree) addOn(cond expr.Node) {
	switch side := sideOf(cond, t.border()); {
	case side == onlyLeft && !t.kind.Keeps(0):
		t.left.addFilter(cond)
	case side == onlyRight && !t.kind.Keeps(1):
		t.right.addFilter(shifted(cond, -t.border()))
	default:
		t.on = append(t.on, cond)
	}
}

// addFilter adds a condition of WHERE, as far down the tree as possible.
func (t *joinTree) addFilter(cond expr.Node) {
	if t.table != nil {
		t.after = append(t.after, cond)
		return
	}
	t.simplify(cond)
	switch side := sideOf(cond, t.border()); {
	case side == onlyLeft && !t.kind.Keeps(1):
		t.left.addFilter(cond)
	case side == onlyRight && !t.kind.Keeps(0):
		t.right.addFilter(shifted(cond, -t.border()))
	case side == bothSides && t.kind == InnerJoin:
		t.on = append(t.on, cond)
	default:
		t.after = append(t.after, cond)
	}
}

// simplify makes an outer join keep fewer rows if a filter rejects those that it would add.
func (t *joinTree) simplify(filter expr.Node) {
	rejects := func(side int) bool { // rows whose columns of a side are NULL
		c, ok := filter.(*expr.Call)
		if !ok || !slices.Contains([]string{"=", "<>", "<", "<=", ">", ">=", "LIKE", "IS NOT NULL"}, c.F.Name) {
			return false
		}
		return slices.ContainsFunc(c.Args, func(n expr.Node) bool {
			col, ok := n.(*expr.Col)
			return ok && (col.Index < t.border()) == (side == 0)
		})
	}
	keepLeft, keepRight := t.kind.Keeps(0) && !rejects(1), t.kind.Keeps(1) && !rejects(0)
	switch {
	case !slices.Contains([]JoinKind{LeftJoin, RightJoin, FullJoin}, t.kind):
	case keepLeft && keepRight:
	case keepLeft:
		t.kind = LeftJoin
	case keepRight:
		t.kind = RightJoin
	default:
		t.kind = InnerJoin
	}
}

// side says which inputs of a join an expression reads.
type side int

const (
	neither side = iota
	onlyLeft
	onlyRight
	bothSides
)

// sideOf returns which inputs an expression reads. The columns of the right one start at border.
func sideOf(n expr.Node, border int) side {
	found := neither
	for c := range expr.Columns(n) {
		if c < border {
			found |= onlyLeft
		} else {
			found |= onlyRight
		}
	}
	return found
}

// shifted returns an expression with the positions of its columns moved.
func shifted(n expr.Node, by int) expr.Node {
	return renumbered(n, func(c int) int { return c + by })
}

// renumbered changes the position of each column of an expression.
func renumbered(n expr.Node, to func(int) int) expr.Node {
	return replaceColumns(n, func(c *expr.Col) expr.Node {
		moved := *c
		moved.Index = to(c.Index)
		return &moved
	})
}

// replaceColumns replaces each column of an expression.
func replaceColumns(n expr.Node, with func(*expr.Col) expr.Node) expr.Node {
	return expr.Replace(n, func(n expr.Node) expr.Node {
		if c, ok := n.(*expr.Col); ok {
			return with(c)
		}
		return n
	})
}

// lower turns a tree into relations.
func (p *planner) lower(t *joinTree) (*Relation, error) {
	r := t.table
	if r == nil {
		var err error
		if r, err = p.lowerJoin(t); err != nil {
			return nil, err
		}
	}
	if len(t.after) == 0 {
		return r, nil
	}
	return p.where(t.where, r, conjunction(t.after))
}

// lowerJoin chooses how a join is computed: per window, within an interval of time, or by keeping
// all rows of both sides.
func (p *planner) lowerJoin(t *joinTree) (*Relation, error) {
	left, err := p.lower(t.left)
	if err != nil {
		return nil, err
	}
	right, err := p.lower(t.right)
	if err != nil {
		return nil, err
	}
	for _, in := range []*Relation{left, right} {
		if isPendingRank(in) {
			return nil, sql.Errorf(t.where, "ROW_NUMBER needs a limit before it is joined").WithHint("SELECT … FROM (SELECT *, ROW_NUMBER() OVER (…) AS n FROM t) WHERE n <= 10")
		}
	}
	b := &joinBinding{planner: p, where: t.where, left: left, right: right, on: JoinOn{Kind: t.kind}, ttl: t.ttl}
	if r := b.valuesJoin(t.on); r != nil {
		return r, nil
	}
	b.split(t.on)
	r, err := b.join()
	if err != nil {
		return nil, err
	}
	return b.withoutExtra(r), nil
}

// joinBinding chooses and creates the relation of one join.
type joinBinding struct {
	planner     *planner
	where       sql.Node
	left, right *Relation
	on          JoinOn
	extra       [2]int            // columns added to each side for keys that are computed
	rest        []expr.Node       // conditions other than equal columns
	ttl         [2]*time.Duration // from a hint
}

// split finds the equal columns among the conditions. An equality of expressions becomes one of
// computed columns. Floats remain a condition as well, since NaN has a key but is not equal.
func (b *joinBinding) split(on []expr.Node) {
	border := len(b.left.Cols)
	var keys [2][]expr.Node
	var rest []expr.Node
	for _, cond := range on {
		l, r, ok := equalSides(cond, border)
		if !ok {
			rest = append(rest, cond)
			continue
		}
		if l.Type().Class() == column.Floats {
			rest = append(rest, cond)
		}
		keys[0], keys[1] = append(keys[0], l), append(keys[1], shifted(r, -border))
	}
	b.left, b.on.Left = b.withKeys(b.left, keys[0], 0)
	b.right, b.on.Right = b.withKeys(b.right, keys[1], 1)
	for _, cond := range rest {
		b.rest = append(b.rest, b.afterExtra(cond, border))
	}
}

// equalSides parses an equality of an expression over the left side and one over the right side
// whose encodings are equal if they are.
func equalSides(n expr.Node, border int) (left, right expr.Node, ok bool) {
	c, isCall := n.(*expr.Call)
	if !isCall || c.F.Name != "=" {
		return nil, nil, false
	}
	l, r := c.Args[0], c.Args[1]
	if sideOf(l, border) == onlyRight {
		l, r = r, l
	}
	if sideOf(l, border) != onlyLeft || sideOf(r, border) != onlyRight {
		return nil, nil, false
	}
	x, y := l.Type(), r.Type()
	switch {
	case x.Kind == column.Decimal && y.Kind == column.Decimal:
		ok = x.Scale == y.Scale
	case x.Class() == column.Boxes || y.Class() == column.Boxes:
	case x.Kind == column.String || x.Kind == column.Bytes:
		ok = x.Kind == y.Kind && x.Fixed == y.Fixed && (!x.Fixed || x.Length == y.Length)
	default:
		ok = x.Class() == y.Class() && (x.Kind == y.Kind || x.Integer() && y.Integer())
	}
	return l, r, ok
}

// withKeys returns a side with the columns of its keys.
func (b *joinBinding) withKeys(in *Relation, keys []expr.Node, at int) (*Relation, []int) {
	exprs, all := in.first(len(in.Cols)), names(in.Cols)
	columns := make([]int, len(keys))
	for i, k := range keys {
		place := position(exprs, k)
		if place < 0 {
			place = len(exprs)
			exprs, all = append(exprs, k), append(all, k.String())
		}
		columns[i] = place
	}
	if b.extra[at] = len(exprs) - len(in.Cols); b.extra[at] > 0 {
		in = b.planner.project(in, all, exprs)
	}
	return in, columns
}

// afterExtra moves the columns of the right side in a condition past the columns that were added to
// the left one.
func (b *joinBinding) afterExtra(n expr.Node, border int) expr.Node {
	return renumbered(n, func(c int) int {
		if c < border {
			return c
		}
		return c + b.extra[0]
	})
}

// withoutExtra removes the columns that were added for keys from the rows of the join.
func (b *joinBinding) withoutExtra(r *Relation) *Relation {
	if b.extra[0]+b.extra[1] == 0 {
		return r
	}
	var exprs []expr.Node
	var kept []string
	border := len(b.left.Cols)
	for i, c := range r.Cols {
		if i < border-b.extra[0] || i >= border && i < len(r.Cols)-b.extra[1] {
			exprs, kept = append(exprs, r.col(i)), append(kept, c.Name)
		}
	}
	return b.planner.project(r, kept, exprs)
}

// join creates the relation of the join.
func (b *joinBinding) join() (*Relation, error) {
	if r, err := b.windowJoin(); r != nil || err != nil {
		return r, err
	}
	if r := b.intervalJoin(); r != nil {
		return r, nil
	}
	return b.regularJoin(), nil
}

// place brings rows with equal keys to the same task, where keys are pairs of columns. Sides that
// already are in the partitions of the same keys stay there.
func (b *joinBinding) place(left, right []int) {
	l, r := b.left, b.right
	if l.Hash != "" && l.Hash == r.Hash && samePairs(l.Keyed, r.Keyed, left, right) {
		return
	}
	b.left, b.right = b.planner.exchange(l, left), b.planner.exchange(r, right)
}

// samePairs reports whether rows that agree in the keys are in the same partition: both sides are
// partitioned by the same of them, in the same order.
func samePairs(keyedLeft, keyedRight, left, right []int) bool {
	if keyedLeft == nil || keyedRight == nil || len(keyedLeft) != len(keyedRight) {
		return false
	}
	pairs := make(map[[2]int]bool)
	for k := range left {
		pairs[[2]int{left[k], right[k]}] = true
	}
	for i := range keyedLeft {
		if !pairs[[2]int{keyedLeft[i], keyedRight[i]}] {
			return false
		}
	}
	return true
}

// relation returns the join as a relation over both sides.
func (b *joinBinding) relation(op Op) *Relation {
	border := len(b.left.Cols)
	cols := slices.Clone(b.left.Cols)
	if !b.on.Kind.LeftOnly() {
		cols = append(cols, b.right.Cols...)
	}
	for i := range cols {
		other := 1
		if i >= border {
			other = 0
		}
		if b.on.Kind.Keeps(other) && !b.on.Kind.LeftOnly() { // the column may be NULL
			cols[i].Type = cols[i].Type.Nullable(true)
			cols[i].Rowtime, cols[i].Window, cols[i].Role = false, nil, NoRole
		}
	}
	r := b.planner.relation(op, cols, b.left, b.right)
	r.Keyed, r.Hash = b.keyed()
	return r
}

// after moves columns of the right side to their positions in the join; nil stays nil.
func after(columns []int, border int) []int {
	columns = slices.Clone(columns)
	for i := range columns {
		columns[i] += border
	}
	return columns
}

// keyed returns how the rows of the join are partitioned: by the key of a side whose rows are
// always present.
func (b *joinBinding) keyed() (columns []int, hash string) {
	switch b.on.Kind {
	case FullJoin:
		if len(b.left.Keyed) > 0 {
			return nil, ""
		}
		return b.left.Keyed, b.left.Hash
	case RightJoin:
		return after(b.right.Keyed, len(b.left.Cols)), b.right.Hash
	default:
		return b.left.Keyed, b.left.Hash
	}
}
