package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// scope resolves names against the columns of all relations in FROM.
type scope struct {
	cols     []Column
	tables   []scopeTable
	hidden   map[int]bool
	using    []int             // columns that a join with USING has merged, which * lists first
	merged   map[int]bool      // their counterparts, which only a qualified name means
	full     map[int][]int     // counterparts by merged column of a FULL JOIN: its value is the first that is not NULL
	computed map[int]expr.Node // values of columns, over all columns, if they are not the columns themselves
	outer    *scope            // of the query around this one, whose columns come first; nil without one
}

// own returns the position of the first column that is not one of the query around.
func (s *scope) own() int {
	if s.outer == nil {
		return 0
	}
	return len(s.outer.cols)
}

// within returns the scope of a query in a condition of another query, whose columns it may use,
// too. Its own names hide those of the query around.
func (s *scope) within(outer *scope) *scope {
	n := len(outer.cols)
	in := &scope{cols: slices.Concat(outer.cols, s.cols), outer: outer}
	for _, t := range s.tables {
		in.tables = append(in.tables, scopeTable{t.alias, t.first + n, t.end + n})
	}
	in.inherit(s, n)
	return in
}

// inherit copies what a scope says about its columns, which begin at first here.
func (s *scope) inherit(from *scope, first int) {
	for i := range from.hidden {
		s.hide(i+first, true)
	}
	for _, i := range from.using {
		s.using = append(s.using, i+first)
	}
	for i := range from.merged {
		s.merge(i + first)
	}
	for i, others := range from.full {
		s.coalesce(i+first, after(others, first)...)
	}
	for i, n := range from.computed {
		s.compute(i+first, shifted(n, first))
	}
}

// merge makes a column that has the values of another one unavailable without its table's name.
func (s *scope) merge(i int) {
	if s.merged == nil {
		s.merged = make(map[int]bool)
	}
	s.merged[i] = true
}

// coalesce gives a merged column the values of others where it is NULL.
func (s *scope) coalesce(i int, others ...int) {
	if s.full == nil {
		s.full = make(map[int][]int)
	}
	s.full[i] = append(s.full[i], others...)
}

// compute sets the value of a column.
func (s *scope) compute(i int, n expr.Node) {
	if s.computed == nil {
		s.computed = make(map[int]expr.Node)
	}
	s.computed[i] = n
}

// col returns the value of a column that is referred to with its table's name.
func (s *scope) col(i int) expr.Node {
	if n, ok := s.computed[i]; ok {
		return n
	}
	return &expr.Col{Index: i, Name: s.cols[i].Name, T: s.cols[i].Type}
}

// value returns the value of a column that is referred to without its table's name.
func (s *scope) value(i int, zone expr.Zone) (expr.Node, error) {
	if len(s.full[i]) == 0 {
		return s.col(i), nil
	}
	all := []expr.Node{s.col(i)}
	for _, other := range s.full[i] {
		all = append(all, s.col(other))
	}
	return expr.Bind("COALESCE", zone, all...)
}

// scopeTable is one relation in FROM, with the columns [first, end).
type scopeTable struct {
	alias      string
	first, end int
}

func (s *scope) add(alias string, cols []Column) {
	s.tables = append(s.tables, scopeTable{alias, len(s.cols), len(s.cols) + len(cols)})
	s.cols = append(s.cols, cols...)
}

// hide hides a column from name resolution if yes is true.
func (s *scope) hide(i int, yes bool) {
	if yes {
		if s.hidden == nil {
			s.hidden = make(map[int]bool)
		}
		s.hidden[i] = true
	}
}

func scopeOf(alias string, r *Relation) *scope {
	s := &scope{}
	s.add(alias, r.Cols)
	return s
}

// find returns the column that a path starts with and how many parts of the path name it.
func (s *scope) find(path []sql.Ident) (index, parts int, err error) {
	index, parts, err = s.findOwn(path)
	if err == nil || s.outer == nil {
		return index, parts, err
	}
	i, n, outerErr := s.outer.find(path)
	if outerErr == nil || len(path) > 1 && slices.ContainsFunc(s.outer.tables, func(t scopeTable) bool { return t.alias == path[0].Name }) {
		return i, n, outerErr
	}
	return index, parts, err
}

// findOwn finds a column that is not one of the query around.
func (s *scope) findOwn(path []sql.Ident) (index, parts int, err error) {
	first := s.own()
	for _, t := range s.tables { // a table's name hides a column with the same name
		if len(path) > 1 && t.alias == path[0].Name {
			if i, ok, err := s.column(path[1], t.first, t.end, nil); ok || err != nil {
				return i, 2, err
			}
		}
	}
	if i, ok, err := s.column(path[0], first, len(s.cols), s.merged); ok || err != nil {
		if err == nil || len(path) == 1 {
			return i, 1, err
		}
	}
	if len(path) > 1 {
		for _, t := range s.tables {
			if t.alias != path[0].Name {
				continue
			}
			i, ok, err := s.column(path[1], t.first, t.end, nil)
			if err != nil || ok {
				return i, 2, err
			}
			return 0, 0, sql.Errorf(path[1], "%s has no column %s", t.alias, path[1].Name).WithHint("%s", s.hint(path[1].Name, t.first, t.end))
		}
		return 0, 0, sql.Errorf(path[0], "table or column %s not found", path[0].Name).WithHint("%s", s.tableHint(path[0].Name))
	}
	return 0, 0, sql.Errorf(path[0], "%s", columnNotFound(path[0].Name)).WithHint("%s", s.hint(path[0].Name, first, len(s.cols)))
}

// column finds a column by its name among those in [first, end) that are not excluded.
func (s *scope) column(name sql.Ident, first, end int, excluded map[int]bool) (index int, ok bool, err error) {
	index = -1
	for i := first; i < end; i++ {
		if s.cols[i].Name != name.Name || s.hidden[i] || excluded[i] {
			continue
		}
		if index >= 0 {
			return 0, false, sql.Errorf(name, "column %s is ambiguous: several tables have it", name.Name).WithHint("qualify it with the table's name")
		}
		index = i
	}
	return index, index >= 0, nil
}

func (s *scope) hint(name string, first, end int) string {
	var candidates []string
	for i := first; i < end; i++ {
		if !s.hidden[i] {
			candidates = append(candidates, s.cols[i].Name)
		}
	}
	return suggest.DidYouMean(name, candidates)
}

func (s *scope) tableHint(name string) string {
	var candidates []string
	for _, t := range s.tables {
		if t.alias != "" {
			candidates = append(candidates, t.alias)
		}
	}
	if len(candidates) == 0 {
		return ""
	}
	return orElse(suggest.DidYouMean(name, candidates), "available: "+strings.Join(candidates, ", "))
}

// resolve binds a path to a column, or to a field of one.
func (s *scope) resolve(ref *sql.ColumnRef, zone expr.Zone) (expr.Node, error) {
	if s == nil {
		return nil, sql.Errorf(ref, "found %s where a column is not allowed", ref.Parts[0].Name)
	}
	i, parts, err := s.find(ref.Parts)
	if err != nil {
		return nil, err
	}
	n := s.col(i)
	if parts == 1 {
		if n, err = s.value(i, zone); err != nil {
			return nil, at(ref, err)
		}
	}
	for _, field := range ref.Parts[parts:] {
		if n, err = expr.Bind("FIELD", zone, n, &expr.Const{Value: field.Name, T: column.Of(column.String)}); err != nil {
			return nil, sql.Errorf(field, "%s", err)
		}
	}
	return n, nil
}

// positions returns the columns of * or t.*.
func (s *scope) positions(star *sql.Star) ([]int, error) {
	var all []int
	first, end := s.own(), len(s.cols)
	if len(star.Table) == 0 {
		all = slices.Clone(s.using)
		for i := first; i < end; i++ {
			if !s.hidden[i] && !s.merged[i] && !slices.Contains(s.using, i) {
				all = append(all, i)
			}
		}
		return all, nil
	}
	name, err := tableName(star.Table)
	if err != nil {
		return nil, err
	}
	found := false
	for _, t := range s.tables {
		if t.alias == name {
			first, end, found = t.first, t.end, true
		}
	}
	if !found {
		return nil, sql.Errorf(star, "table %s not found in FROM", name).WithHint("%s", s.tableHint(name))
	}
	for i := first; i < end; i++ {
		if !s.hidden[i] {
			all = append(all, i)
		}
	}
	return all, nil
}

// at adds a position to an error from another package, unless it already has one.
func at(n sql.Node, err error) error {
	var positioned *sql.Error
	if err == nil || errors.As(err, &positioned) {
		return err
	}
	return &sql.Error{Pos: n.At(), Message: fmt.Sprint(err)}
}

func columnNotFound(name string) string { return fmt.Sprintf("column %s not found", name) }
