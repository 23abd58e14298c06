package plan

import (
	"strings"

	"weir.example/weir/internal/sql"
)

// SQLite is the table of a database file of SQLite, with the connector jdbc.
type SQLite struct {
	Path  string
	Table string
	Flush
}

// String implements Delivery.
func (s *SQLite) String() string { return "SQLite table " + s.Table + " in " + s.Path }

// sqlitePrefix begins the URLs of SQLite, as its JDBC driver has them: the path of a file follows.
const sqlitePrefix = "jdbc:sqlite:"

const sqliteDriver = "org.sqlite.JDBC"

// bindSQLite binds a table of SQLite.
func (t *Table) bindSQLite(o *options) error {
	s := &SQLite{Path: strings.TrimPrefix(o.get("url"), sqlitePrefix), Table: o.get("table-name")}
	const example = "write jdbc:sqlite:PATH, for example jdbc:sqlite:/var/lib/weir/results.db"
	switch {
	case s.Path == "" || strings.ContainsAny(s.Path, "?#") || strings.HasPrefix(s.Path, ":"):
		return sql.Errorf(o.all["url"].ValuePos, "table %s: the option 'url' does not name a database file", t.Name).WithHint("%s", example)
	case s.Table == "":
		return sql.Errorf(t, "table %s has no option 'table-name'", t.Name)
	case strings.HasPrefix(strings.ToLower(s.Table), "sqlite_") || strings.EqualFold(s.Table, "weir_offsets"):
		return o.bad("table-name", "choose another name")
	}
	if driver := o.get("driver"); driver != "" && driver != sqliteDriver {
		return o.bad("driver", "use "+sqliteDriver+", or leave it out")
	}
	for _, key := range []string{"username", "password"} {
		if o.get(key) != "" {
			return sql.Errorf(o.all[key], "table %s: SQLite has no option '%s'", t.Name, key).WithHint("access to the file decides who may use the database")
		}
	}
	if err := s.bind(o); err != nil {
		return err
	}
	return t.deliverTo(s, o.name)
}
