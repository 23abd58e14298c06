package plan

import (
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/sql"
)

// refuseHint returns the error for a hint that is not the one known in this place.
func refuseHint(h sql.Hint, place, known string) error {
	name := strings.ToUpper(h.Name)
	switch name {
	case known:
		return nil
	case "BROADCAST", "SHUFFLE_HASH", "SHUFFLE_MERGE", "NEST_LOOP":
		return sql.Errorf(h, "the hint %s is not supported", name).WithHint("remove it: Flink applies it to batch jobs only")
	case "OPTIONS":
		return sql.Errorf(h, "the hint OPTIONS is not allowed after %s", place).WithHint("write it after a table's name")
	case stateTTLHint:
		return sql.Errorf(h, "the hint STATE_TTL is not allowed after %s", place).WithHint("write it after SELECT")
	}
	return sql.Errorf(h, "the hint %s is not supported", h.Name).WithHint("remove it")
}

// stateTTLHint is the hint that sets how long the joins and the groups of one SELECT keep the rows
// of a table, in place of table.exec.state.ttl.
const stateTTLHint = "STATE_TTL"

// ttlHint is the TTL of one table of FROM.
type ttlHint struct {
	sql.Option
	ttl time.Duration
}

// hinted binds FROM and applies the STATE_TTL hints of a SELECT to its joins. group is the TTL for
// groups of the rows, nil if there is none.
func (p *planner) hinted(s *sql.Select) (tree *joinTree, group *time.Duration, err error) {
	if tree, err = p.fromTree(s.From); err != nil {
		return nil, nil, err
	}
	hints, err := ttlHints(s)
	if err != nil || len(hints) == 0 {
		return tree, nil, err
	}
	if p.ttlHint == nil {
		p.ttlHint = &hints[0].Option
	}
	groups := len(s.GroupBy) > 0 || s.Distinct || selectsAggregate(s)
	for _, h := range hints {
		tables := tree.named(h.Key)
		switch {
		case len(tables) > 1:
			return nil, nil, sql.Errorf(h, "%s in STATE_TTL means two tables of FROM", h.Key).WithHint("give each an alias")
		case len(tables) == 0:
			return nil, nil, sql.Errorf(h, "%s in STATE_TTL is not a table of this FROM", h.Key).WithHint("write its alias if it has one; a SELECT in FROM has hints of its own")
		case tables[0] == tree && groups:
			group = &h.ttl
		case !tree.hint(tables[0], h.ttl):
			return nil, nil, sql.Errorf(h, "STATE_TTL has no effect on %s: this SELECT neither joins nor groups its rows", h.Key).
				WithHint("remove it, or write it after the SELECT that does; Flink ignores it here")
		}
	}
	return tree, group, nil
}

// ttlHints returns the TTL of each table of the STATE_TTL hints of a SELECT. Like in Flink, the
// last one counts within a hint, and the first one between hints.
func ttlHints(s *sql.Select) (all []ttlHint, err error) {
	for _, h := range s.Hints {
		if err := refuseHint(h, "SELECT", stateTTLHint); err != nil {
			return nil, err
		}
		if len(h.Options) == 0 {
			return nil, sql.Errorf(h, "STATE_TTL has no tables").WithHint("write STATE_TTL('t' = '1 d')")
		}
		before := len(all)
		for _, o := range h.Options {
			ttl, err := parseTTL(o.Value)
			if err != nil {
				return nil, sql.Errorf(o.ValuePos, "'%s' is not a TTL", o.Value).WithHint("%s", err)
			}
			o.Key = o.Key[strings.LastIndexByte(o.Key, '.')+1:]
			switch i := slices.IndexFunc(all, func(other ttlHint) bool { return other.Key == o.Key }); {
			case i < 0:
				all = append(all, ttlHint{o, ttl})
			case i >= before:
				all[i] = ttlHint{o, ttl}
			}
		}
	}
	return all, nil
}

// named returns the tables of a FROM that have a name.
func (t *joinTree) named(name string) []*joinTree {
	switch {
	case t.table == nil:
		return append(t.left.named(name), t.right.named(name)...)
	case len(t.sc.tables) == 1 && t.sc.tables[0].alias == name:
		return []*joinTree{t}
	}
	return nil
}

// hint sets the TTL of the rows of a table in the join that it is a side of. It reports whether
// there is one. A side that is a join itself has no name.
func (t *joinTree) hint(table *joinTree, ttl time.Duration) bool {
	if t.table != nil {
		return false
	}
	for i, side := range []*joinTree{t.left, t.right} {
		if side != table && side.rows != table {
			continue
		}
		t.ttl[i] = &ttl
		for ; side != table; side = side.left {
			side.ttl[0] = &ttl
		}
		return true
	}
	return t.left.hint(table, ttl) || t.right.hint(table, ttl)
}
