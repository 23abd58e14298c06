package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
)

// dbColumn is a column of the database.
type dbColumn struct {
	name, declared string
	notNull        bool
	optional       bool // has a default
	generated      bool
	key            int // position in the primary key, from 1; 0 if it is not part of it
}

// into is a table as the database has it.
type into struct {
	name    string
	columns []*dbColumn // by column of the SQL table's value
	key     []*dbColumn // by column of its key
}

// affinity is how a column converts values, by its declared type.
type affinity string

const (
	integer affinity = "INTEGER"
	text    affinity = "TEXT"
	blob    affinity = "BLOB" // converts nothing
	float   affinity = "REAL"
	numeric affinity = "NUMERIC"
)

// affinityOf follows the rules of https://www.sqlite.org/datatype3.html, section 3.1.
func affinityOf(declared string) affinity {
	d := strings.ToUpper(declared)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(d, p) })
	}
	switch {
	case has("INT"):
		return integer
	case has("CHAR", "CLOB", "TEXT"):
		return text
	case d == "", has("BLOB"):
		return blob
	case has("REAL", "FLOA", "DOUB"): //nolint:misspell // as the rules have it
		return float
	}
	return numeric
}

// keeps reports whether a column with an affinity stores values of a type unchanged.
func (a affinity) keeps(t column.Type) bool {
	switch {
	case a == blob, t.Kind == column.Bytes:
		return true
	case t.Kind == column.Boolean, t.Integer():
		return a == integer || a == numeric
	case t.Kind == column.Float, t.Kind == column.Double:
		return a == float
	}
	return a == text
}

func exists(ctx context.Context, conn *sql.Conn, table string) (bool, error) {
	var n int
	err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE", table).Scan(&n)
	return n > 0, explain(err, "look up table %s", table)
}

// describe finds the table and checks that the rows of the SQL table fit. All differences are in
// one error, with the statements that remove them.
func describe(ctx context.Context, conn *sql.Conn, t *plan.Table, at *plan.SQLite) (*into, error) {
	var kind, statement string
	err := conn.QueryRowContext(ctx, "SELECT name, type, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')", at.Table).Scan(new(string), &kind, &statement)
	switch {
	case err == sql.ErrNoRows: //nolint:errorlint // it is never wrapped
		return nil, sink.Refuse("table %s does not exist in %s. Create it:\n%s", at.Table, at.Path, CreateTable(t, at))
	case err != nil:
		return nil, explain(err, "look up table %s", at.Table)
	case kind != "table" || strings.HasPrefix(strings.ToUpper(strings.TrimSpace(statement)), "CREATE VIRTUAL"):
		return nil, sink.Refuse("%s is not a table of the database itself: rows and offsets could not be written together. Name a table in 'table-name'", at.Table)
	}
	all, err := columnsOf(ctx, conn, at.Table)
	if err != nil {
		return nil, err
	}
	found := &into{name: at.Table}
	if err := found.match(t, all); err != nil {
		return nil, err
	}
	return found, found.checkKey(ctx, conn, t)
}

func columnsOf(ctx context.Context, conn *sql.Conn, table string) (all []*dbColumn, err error) {
	rows, err := conn.QueryContext(ctx, `SELECT name, type, "notnull", dflt_value IS NOT NULL, hidden, pk FROM pragma_table_xinfo(?)`, table)
	if err != nil {
		return nil, explain(err, "look up the columns of table %s", table)
	}
	defer rows.Close()
	for rows.Next() {
		c := &dbColumn{}
		var hidden int
		if err := rows.Scan(&c.name, &c.declared, &c.notNull, &c.optional, &hidden, &c.key); err != nil {
			return nil, explain(err, "look up the columns of table %s", table)
		}
		c.generated = hidden > 1
		all = append(all, c)
	}
	return all, explain(rows.Err(), "look up the columns of table %s", table)
}

// match assigns the columns of the database to those of SQL. Names of SQLite have no case.
func (i *into) match(of *plan.Table, all []*dbColumn) error {
	var wrong, fixes []string
	used := make(map[*dbColumn]string)
	byName := make(map[string]*dbColumn)
	rebuild := false
	for _, f := range of.Kafka.Value.Fields {
		at := slices.IndexFunc(all, func(c *dbColumn) bool { return strings.EqualFold(c.name, f.Name) })
		if at < 0 {
			wrong = append(wrong, "column "+f.Name+" is missing")
			fixes = append(fixes, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s;", quote(i.name), quote(f.Name), typeOf(f.Type)))
			continue
		}
		c := all[at]
		if other, twice := used[c]; twice {
			return sink.Refuse("columns %s and %s of table %s are the same column %s in the database: rename one of them", other, f.Name, of.Name, c.name)
		}
		used[c], byName[f.Name] = f.Name, c
		i.columns = append(i.columns, c)
		if a := affinityOf(c.declared); !a.keeps(f.Type) {
			wrong = append(wrong, fmt.Sprintf("column %s is declared %q, whose affinity %s would change values of %s: declare it %s", c.name, c.declared, a, f.Type.Nullable(true), typeOf(f.Type)))
			rebuild = true
		}
		if c.generated {
			wrong, rebuild = append(wrong, "column "+c.name+" is generated"), true
		}
	}
	for _, c := range all {
		if used[c] == "" && c.notNull && !c.optional && !c.generated {
			wrong, rebuild = append(wrong, "column "+c.name+" is NOT NULL without a default, and the SQL table does not have it"), true
		}
	}
	if rebuild {
		fixes = append(fixes, "SQLite can't change a column: create the table anew, and copy its rows.")
	}
	if len(wrong) > 0 {
		return sink.Refuse("table %s does not fit the rows of %s: %s. Change the table of the SQL file, or the database:\n%s", i.name, of.Name, strings.Join(wrong, "; "), strings.Join(fixes, "\n"))
	}
	for _, f := range of.Kafka.Key.Fields {
		i.key = append(i.key, byName[f.Name])
	}
	return nil
}

// checkKey requires that the database identifies rows by the primary key, and compares it as SQL
// does: byte by byte.
func (i *into) checkKey(ctx context.Context, conn *sql.Conn, of *plan.Table) error {
	if len(i.key) == 0 {
		return nil
	}
	var names []string
	for _, c := range i.key {
		names = append(names, quote(c.name))
	}
	if len(i.key) == 1 && i.key[0].key == 1 && strings.EqualFold(i.key[0].declared, "INTEGER") { // the rowid, which has no index
		return nil
	}
	rows, err := conn.QueryContext(ctx, `SELECT l.name, coalesce(x.name, ''), x.coll FROM pragma_index_list(?) l, pragma_index_xinfo(l.name) x
		WHERE l."unique" AND NOT l.partial AND x.key`, i.name)
	if err != nil {
		return explain(err, "look up the indexes of table %s", i.name)
	}
	defer rows.Close()
	indexes, others := make(map[string][]string), make(map[string]bool)
	for rows.Next() {
		var index, column, collation string
		if err := rows.Scan(&index, &column, &collation); err != nil {
			return explain(err, "look up the indexes of table %s", i.name)
		}
		indexes[index] = append(indexes[index], column)
		others[index] = others[index] || !strings.EqualFold(collation, "BINARY")
	}
	if err := rows.Err(); err != nil {
		return explain(err, "look up the indexes of table %s", i.name)
	}
	for index, columns := range indexes {
		same := len(columns) == len(i.key) && !slices.ContainsFunc(i.key, func(c *dbColumn) bool { return !slices.Contains(columns, c.name) })
		if same && !others[index] {
			return nil
		}
	}
	return sink.Refuse("table %s has no unique index on the primary key of %s, (%s), that compares by bytes. Run in the database:\nCREATE UNIQUE INDEX %s ON %s (%s);",
		i.name, of.Name, strings.Join(names, ", "), quote(i.name+"_key"), quote(i.name), strings.Join(names, " COLLATE BINARY, ")+" COLLATE BINARY")
}

// offsetsTable creates the table of the offsets.
const offsetsTable = `CREATE TABLE IF NOT EXISTS weir_offsets (
  sink TEXT NOT NULL,          -- pipeline and table
  part INTEGER NOT NULL,       -- partition of the topic
  next INTEGER NOT NULL,       -- offset of the next row to deliver
  epoch INTEGER NOT NULL,      -- of the session that may deliver it
  topic_id TEXT NOT NULL,      -- of <sink>.out
  target TEXT NOT NULL,        -- table and key that the rows are in
  updated_at TEXT NOT NULL,
  PRIMARY KEY (sink, part)
);`
