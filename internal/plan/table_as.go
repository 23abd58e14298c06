package plan

import (
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/sql"
)

// newTableAs binds CREATE TABLE … AS: the table, whose columns are those of the query, and the
// INSERT that writes the query's rows to it.
func (p *planner) newTableAs(name string, s *sql.CreateTable) error {
	r, err := p.queryToWrite(s.As)
	if err != nil {
		return err
	}
	create := *s
	create.As, create.Select = nil, nil
	if create.Columns, err = columnsAs(s, r); err != nil {
		return err
	}
	t, err := p.declare(name, &create)
	if err != nil {
		return err
	}
	insert := &sql.Insert{Pos: s.Pos, Table: s.Name, Query: s.As}
	for _, c := range r.Cols {
		insert.Columns = append(insert.Columns, sql.Ident{Pos: s.As.Pos, Name: c.Name})
	}
	p.program.Script.Statements = append(p.program.Script.Statements, insert)
	return p.insertRows(insert, t, r)
}

// columnsAs returns the columns of a table that is created for the rows of r, by the rules of
// Flink's MergeTableAsUtil: first those that only the statement declares, then those of the query,
// with their declared types if they have any.
func columnsAs(s *sql.CreateTable, r *Relation) ([]sql.Column, error) {
	var own, queried []sql.Column
	for i, c := range r.Cols {
		if slices.ContainsFunc(r.Cols[:i], func(other Column) bool { return other.Name == c.Name }) {
			return nil, sql.Errorf(s.As, "the query has two columns with the name %s", c.Name).WithHint("name one of them otherwise: … AS %s_2", c.Name)
		}
		if c.Type.Kind == column.Null {
			return nil, sql.Errorf(s.As, "column %s is always NULL, so its type is unknown", c.Name).WithHint("write CAST(NULL AS …)")
		}
		t, err := sql.ParseType(c.Type.String())
		if err != nil {
			return nil, sql.Errorf(s.As, "column %s is %s, which a table can't store", c.Name, c.Type.Nullable(true)).WithHint("write a CAST")
		}
		queried = append(queried, sql.Column{Pos: s.As.Pos, Name: sql.Ident{Pos: s.As.Pos, Name: c.Name}, Type: t})
	}
	for _, c := range s.Columns {
		i := slices.IndexFunc(queried, func(q sql.Column) bool { return q.Name.Name == c.Name.Name })
		switch {
		case i < 0:
			own = append(own, c)
		case featureOf(c) != "":
			return nil, sql.Errorf(c, "column %s is a column of the query too", c.Name.Name).WithHint("give the computed or metadata column another name")
		case c.Type.NotNull && !queried[i].Type.NotNull:
			return nil, sql.Errorf(c, "column %s is declared NOT NULL, but the query's may be NULL", c.Name.Name).WithHint("%s", makeNotNull)
		default:
			queried[i] = c
		}
	}
	if err := nullableKeyAs(s, r); err != nil {
		return nil, err
	}
	if s.Select == nil {
		return append(own, queried...), nil
	}
	if len(s.Select) != len(queried) {
		return nil, sql.Errorf(s.Select[0], "the query has %d column(s), but %d are listed", len(queried), len(s.Select))
	}
	var ordered []sql.Column
	for _, name := range s.Select {
		i := slices.IndexFunc(queried, func(q sql.Column) bool { return q.Name.Name == name.Name })
		if i < 0 {
			return nil, sql.Errorf(name, "column %s is not a column of the query", name.Name).WithHint("the list orders the query's columns: %s", listNames(r.Cols, everyColumn(r)))
		}
		if slices.ContainsFunc(ordered, func(q sql.Column) bool { return q.Name.Name == name.Name }) {
			return nil, sql.Errorf(name, "column %s is listed twice", name.Name)
		}
		ordered = append(ordered, queried[i])
	}
	return ordered, nil
}

const makeNotNull = "declare the columns that it is computed from NOT NULL, or write COALESCE(…, a value)"

// nullableKeyAs refuses a primary key of columns that may be NULL in the query, as Flink does.
func nullableKeyAs(s *sql.CreateTable, r *Relation) error {
	if s.PrimaryKey == nil {
		return nil
	}
	for _, name := range s.PrimaryKey.Columns {
		if slices.ContainsFunc(r.Cols, func(c Column) bool { return c.Name == name.Name && !c.Type.NotNull }) {
			return sql.Errorf(name, "the primary key column %s may be NULL in the query", name.Name).WithHint("%s", makeNotNull)
		}
	}
	return nil
}

func everyColumn(r *Relation) []int {
	all := make([]int, len(r.Cols))
	for i := range all {
		all[i] = i
	}
	return all
}
