package plan

import (
	"math"
	"slices"
	"strconv"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// rowLimit is the LIMIT and OFFSET of a query: the rows numbered first to last pass.
type rowLimit struct{ first, last int64 }

// arranges reports whether a query has an ORDER BY, LIMIT or OFFSET.
func arranges(q *sql.Query) bool { return len(q.OrderBy) > 0 || q.Limit != nil || q.Offset != nil }

// limitOf returns the limit of a query; nil without one.
func limitOf(q *sql.Query) (*rowLimit, error) {
	if q.Limit == nil && q.Offset == nil {
		return nil, nil
	}
	if q.Limit == nil {
		return nil, sql.Errorf(q.Offset, "OFFSET requires a LIMIT").WithHint("write LIMIT n OFFSET m; Flink does not support this either")
	}
	count, err := rowCount("LIMIT", q.Limit)
	if err != nil {
		return nil, err
	}
	skipped := int64(0)
	if q.Offset != nil {
		if skipped, err = rowCount("OFFSET", q.Offset); err != nil {
			return nil, err
		}
	}
	return &rowLimit{first: skipped + 1, last: skipped + count}, nil
}

func rowCount(clause string, e sql.Expr) (int64, error) {
	if l, ok := e.(*sql.Literal); ok && l.Kind == sql.NumberLiteral {
		if n, err := strconv.ParseInt(l.Text, 10, 32); err == nil {
			return n, nil
		}
	}
	return 0, sql.Errorf(e, "%s requires a number of rows", clause).WithHint("write an integer up to %d; Flink does not support expressions either", math.MaxInt32)
}

// arranged binds a query with ORDER BY or LIMIT. Without a LIMIT, the order is kept only if keep is
// true.
func (p *planner) arranged(q *sql.Query, keep bool) (*Relation, error) {
	limit, err := limitOf(q)
	if err != nil {
		return nil, err
	}
	r, keys, width, err := p.orderedBody(q)
	if err != nil {
		return nil, err
	}
	switch {
	case limit != nil && limit.last < limit.first:
		r = p.filter(r, &expr.Const{Value: false, T: notNull(column.Boolean)})
	case limit != nil && (len(keys) > 0 || r.Updating):
		r, err = p.topRows(q, r, keys, limit)
	case limit != nil:
		r = p.limit(r, limit)
	case keep:
		r, err = p.temporalSort(q, r, keys)
	}
	if err != nil || len(r.Cols) == width {
		return r, err
	}
	return p.project(r, names(r.Cols[:width]), r.first(width)), nil
}

// orderedBody binds the body of a query and finds the columns of its ORDER BY. The first width
// columns are those of the query; others follow that only ORDER BY reads.
func (p *planner) orderedBody(q *sql.Query) (r *Relation, keys []SortKey, width int, err error) {
	s, ok := q.Body.(*sql.Select)
	if ok = ok && !s.Distinct; !ok {
		if r, err = p.body(q.Body); err != nil {
			return nil, nil, 0, err
		}
		return p.orderedOutput(q, r)
	}
	extended := *s
	extended.Items = slices.Clone(s.Items)
	for _, o := range q.OrderBy {
		if _, ordinal := ordinalOf(o.Expr); !ordinal {
			extended.Items = append(extended.Items, sql.SelectItem{Expr: byName(s, o.Expr)})
		}
	}
	hidden := len(extended.Items) - len(s.Items)
	if r, err = p.body(&extended); err != nil {
		return nil, nil, 0, err
	}
	width = len(r.Cols) - hidden
	next := width
	for _, o := range q.OrderBy {
		c, ordinal, err := columnAt(o.Expr, width)
		if err != nil {
			return nil, nil, 0, err
		}
		if !ordinal {
			if c = sameItem(r, next, width); c < 0 {
				c = next
			}
			next++
		}
		key, err := sortKey(o, c, r.Cols[c].Type)
		if err != nil {
			return nil, nil, 0, err
		}
		keys = append(keys, key)
	}
	return r, keys, width, nil
}

// sameItem returns the first column of a projection with the same expression as another one; -1 if
// it is not among the first n.
func sameItem(r *Relation, column, n int) int {
	p, ok := r.Op.(*Project)
	if !ok {
		return -1
	}
	return position(p.Exprs[:n], p.Exprs[column])
}

// orderedOutput finds the columns of ORDER BY among those of a relation, to which it adds
// expressions over them.
func (p *planner) orderedOutput(q *sql.Query, r *Relation) (ordered *Relation, keys []SortKey, width int, err error) {
	width = len(r.Cols)
	exprs, all := r.first(width), names(r.Cols)
	b := &binder{planner: p, scope: scopeOf("", r)}
	for _, o := range q.OrderBy {
		c, ordinal, err := columnAt(o.Expr, width)
		if err != nil {
			return nil, nil, 0, err
		}
		if !ordinal {
			e, err := b.bind(o.Expr)
			if err != nil {
				return nil, nil, 0, err
			}
			if c = position(exprs, e); c < 0 {
				c = len(exprs)
				exprs, all = append(exprs, e), append(all, e.String())
			}
		}
		key, err := sortKey(o, c, exprs[c].Type())
		if err != nil {
			return nil, nil, 0, err
		}
		keys = append(keys, key)
	}
	if len(exprs) > width {
		r = p.project(r, all, exprs)
	}
	return r, keys, width, nil
}

// ordinalOf returns the number in ORDER BY 2, which means the second column of SELECT.
func ordinalOf(e sql.Expr) (n int, ok bool) {
	l, ok := e.(*sql.Literal)
	if !ok || l.Kind != sql.NumberLiteral {
		return 0, false
	}
	n, err := strconv.Atoi(l.Text)
	return n, err == nil
}

// columnAt returns the position of the column that a number in ORDER BY means, of the first width
// columns. ordinal is false for other expressions.
func columnAt(e sql.Expr, width int) (column int, ordinal bool, err error) {
	n, ordinal := ordinalOf(e)
	if ordinal && (n < 1 || n > width) {
		return 0, true, sql.Errorf(e, "ORDER BY %d: the query has %d column(s)", n, width)
	}
	return n - 1, ordinal, nil
}

// byName returns the item of SELECT that a name in ORDER BY means, or the name itself.
func byName(s *sql.Select, e sql.Expr) sql.Expr {
	ref, ok := e.(*sql.ColumnRef)
	if !ok || len(ref.Parts) > 1 {
		return e
	}
	for n, it := range s.Items {
		if !isStar(it) && itemName(it, n) == ref.Parts[0].Name {
			return it.Expr
		}
	}
	return e
}

// sortKey returns the key of an item of ORDER BY, given its column. NULL is the lowest value, as in
// Flink.
func sortKey(o sql.OrderItem, at int, t column.Type) (SortKey, error) {
	if _, err := ordered(t); err != nil {
		return SortKey{}, sql.Errorf(o.Expr, "ORDER BY %s", err)
	}
	key := SortKey{Column: at, Desc: o.Desc, NullsLast: o.Desc}
	if o.NullsFirst != nil {
		key.NullsLast = !*o.NullsFirst
	}
	return key, nil
}

// topRows returns the first rows of all by an order, which change when other rows arrive. Updating
// rows without an order are ordered by their values.
func (p *planner) topRows(q *sql.Query, r *Relation, keys []SortKey, limit *rowLimit) (*Relation, error) {
	if limit.last > maxTopN {
		return nil, sql.Errorf(q.Limit, "a Top-N of more than %d rows is not supported", maxTopN)
	}
	in := p.keyBy(r, []int{})
	rank := &Rank{Partition: []int{}, Order: keys, Limit: limit.last, From: limit.first, Number: true, End: -1, Limited: true}
	cols := append(slices.Clone(in.Cols), Column{Name: "ROW_NUMBER", Type: notNull(column.BigInt)})
	ranked := p.relation(rank, cols, in)
	p.describeRank(ranked)
	return ranked, nil
}
