package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
)

// target is a table as the database has it.
type target struct {
	oid          uint32
	schema, name string
	columns      []*dbColumn // by column of the SQL table's value
	key          []*dbColumn // by column of its key
}

// dbColumn is a column of the database.
type dbColumn struct {
	name      string
	number    int16
	typ       uint32
	mod       int32
	shown     string // the type
	notNull   bool
	optional  bool // has a default
	generated bool
	sortable  bool // its collation compares bytes
	stored    stored
}

// identity names the table in weir_offsets.
func (t *target) identity() string { return t.schema + "." + t.name }

func (t *target) sql() string { return pgx.Identifier{t.schema, t.name}.Sanitize() }

// describe finds the table and checks that the rows of the SQL table fit. All differences are in
// one error, with the statements that remove them.
func describe(ctx context.Context, conn *pgx.Conn, t *plan.Table, j *plan.JDBC) (*target, error) {
	found := &target{}
	var kind, persistence string
	err := conn.QueryRow(ctx, `SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence::text
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`, j.Table).
		Scan(&found.oid, &found.schema, &found.name, &kind, &persistence)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, sink.Refuse("table %s does not exist in the database. Create it:\n%s", j.Table, CreateTable(t, j))
	case err != nil:
		return nil, explain(err, "look up table %s", j.Table)
	case kind != "r" && kind != "p":
		return nil, sink.Refuse("%s is not a table of the database itself (kind %q): rows and offsets could not be written together. Name a table in 'table-name'", j.Table, kind)
	case persistence != "p":
		return nil, sink.Refuse("table %s is unlogged: a crash of the database would empty it, but not the offsets. Run:\nALTER TABLE %s SET LOGGED;", j.Table, found.sql())
	}
	all, err := columnsOf(ctx, conn, found.oid)
	if err != nil {
		return nil, explain(err, "look up the columns of table %s", j.Table)
	}
	if err := found.match(t, all); err != nil {
		return nil, err
	}
	return found, found.checkKey(ctx, conn, t)
}

func columnsOf(ctx context.Context, conn *pgx.Conn, oid uint32) ([]*dbColumn, error) {
	rows, err := conn.Query(ctx, `SELECT a.attname, a.attnum, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull,
			a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' OR a.attidentity = 'a', coalesce(c.collisdeterministic, true)
		FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation
		WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, oid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dbColumn, error) {
		c := &dbColumn{}
		return c, row.Scan(&c.name, &c.number, &c.typ, &c.mod, &c.shown, &c.notNull, &c.optional, &c.generated, &c.sortable)
	})
}

// match assigns the columns of the database to those of SQL.
func (t *target) match(of *plan.Table, all []*dbColumn) error {
	var wrong, fixes []string
	used := make(map[*dbColumn]string)
	byName := make(map[string]*dbColumn)
	fields := of.Kafka.Value.Fields
	for _, f := range fields {
		c := find(all, f.Name)
		if c == nil {
			wrong = append(wrong, "column "+f.Name+" is missing")
			fixes = append(fixes, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s;", t.sql(), identifier(f.Name), typeOf(f.Type)))
			continue
		}
		if other, twice := used[c]; twice {
			return sink.Refuse("columns %s and %s of table %s are the same column %s in the database: rename one of them", other, f.Name, of.Name, c.name)
		}
		used[c] = f.Name
		byName[f.Name] = c
		t.columns = append(t.columns, c)
		var fits bool
		if c.stored, fits = fit(f.Type, c.typ, c.mod); !fits {
			wrong = append(wrong, fmt.Sprintf("column %s is %s, which does not hold every value of %s", c.name, c.shown, f.Type.Nullable(true)))
			fixes = append(fixes, fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s;", t.sql(), identifier(c.name), typeOf(f.Type)))
		}
		if c.generated {
			wrong = append(wrong, "column "+c.name+" is always generated")
			fixes = append(fixes, fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP EXPRESSION;", t.sql(), identifier(c.name)))
		}
	}
	for _, c := range all {
		if used[c] == "" && c.notNull && !c.optional && !c.generated {
			wrong = append(wrong, "column "+c.name+" is NOT NULL without a default, and the SQL table does not have it")
			fixes = append(fixes, fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL;", t.sql(), identifier(c.name)))
		}
	}
	if len(wrong) > 0 {
		return sink.Refuse("table %s does not fit the rows of %s: %s. Change the table of the SQL file, or run in the database:\n%s",
			t.identity(), of.Name, strings.Join(wrong, "; "), strings.Join(fixes, "\n"))
	}
	for _, f := range of.Kafka.Key.Fields {
		t.key = append(t.key, byName[f.Name])
	}
	return nil
}

// find returns the column that a name means in SQL without quotes, which is how Flink writes it, or
// else the one with exactly this name.
func find(all []*dbColumn, name string) *dbColumn {
	for _, n := range []string{strings.ToLower(name), name} {
		if i := slices.IndexFunc(all, func(c *dbColumn) bool { return c.name == n }); i >= 0 {
			return all[i]
		}
	}
	return nil
}

// checkKey requires a unique index on the primary key, which ON CONFLICT needs, and which compares
// keys as SQL does.
func (t *target) checkKey(ctx context.Context, conn *pgx.Conn, of *plan.Table) error {
	if len(t.key) == 0 {
		return nil
	}
	var numbers []int16
	var names []string
	for _, c := range t.key {
		numbers, names = append(numbers, c.number), append(names, identifier(c.name))
		if !c.sortable {
			return sink.Refuse("column %s of the primary key of %s has a collation in which different strings are equal. Run in the database:\nALTER TABLE %s ALTER COLUMN %s TYPE %s COLLATE \"C\";",
				c.name, of.Name, t.sql(), identifier(c.name), c.shown)
		}
	}
	var found bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate
		AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = cardinality($2::int2[])
		AND (SELECT array_agg(k ORDER BY k) FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k) = (SELECT array_agg(k ORDER BY k) FROM unnest($2::int2[]) k))`, t.oid, numbers).Scan(&found)
	if err != nil {
		return explain(err, "look up the indexes of table %s", t.identity())
	}
	if !found {
		return sink.Refuse("table %s has no unique index on the primary key of %s, (%s). Run in the database:\nALTER TABLE %s ADD PRIMARY KEY (%s);",
			t.identity(), of.Name, strings.Join(names, ", "), t.sql(), strings.Join(names, ", "))
	}
	return nil
}

// warnings are settings with which the database may lose what it has confirmed.
func (t *Target) warn(ctx context.Context, conn *pgx.Conn) error {
	for _, s := range []struct{ name, means string }{
		{"synchronous_commit", "a crash of the database loses the last transactions; their rows are delivered again, if the topic still has them"},
		{"fsync", "a crash of its machine may destroy the database"},
	} {
		var value string
		if err := conn.QueryRow(ctx, "SHOW "+s.name).Scan(&value); err != nil {
			return explain(err, "read the setting %s", s.name)
		}
		if value == "off" {
			t.logger.Warn("the database has "+s.name+" = off: "+s.means, "table", t.table.Name)
		}
	}
	return nil
}

// offsetsTable creates the table of the offsets.
const offsetsTable = `CREATE TABLE IF NOT EXISTS weir_offsets (
  sink text NOT NULL,          -- pipeline and table
  part integer NOT NULL,       -- partition of the topic
  next bigint NOT NULL,        -- offset of the next row to deliver
  epoch bigint NOT NULL,       -- of the session that may deliver it
  topic_id text NOT NULL,      -- of <sink>.out
  target text NOT NULL,        -- table and key that the rows are in
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (sink, part)
) WITH (fillfactor = 50);`

// prepare creates weir_offsets if it does not exist.
func prepare(ctx context.Context, conn *pgx.Conn) error {
	var known *string
	if err := conn.QueryRow(ctx, "SELECT to_regclass('weir_offsets')::text").Scan(&known); err != nil {
		return explain(err, "look up table weir_offsets")
	}
	if known != nil {
		return nil
	}
	_, err := conn.Exec(ctx, offsetsTable)
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e) && e.Code == insufficientPrivilege:
		return sink.Refuse("the table of offsets does not exist, and the user may not create it: %w. Run as another user:\n%s\nGRANT SELECT, INSERT, UPDATE ON weir_offsets TO the user;", err, offsetsTable)
	case errors.As(err, &e) && e.Code == uniqueViolation: // another process is creating it
		return err
	}
	return explain(err, "create table weir_offsets")
}

const (
	insufficientPrivilege = "42501"
	uniqueViolation       = "23505"
)
