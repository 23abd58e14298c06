package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/lookup"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
)

// maxAnswer bounds the values of an answer, which are in memory. Keys that have more together are
// looked up apart.
const maxAnswer = 64 << 20

// source reads a table for lookup joins. It implements lookup.Source.
type source struct {
	conn  *pgx.Conn
	table *lookup.Table
	query string
	keys  []*keyColumn // by column of table.Keys
	read  []*readColumn
	limit int // maxAnswer, except in tests
}

// OpenLookups returns how tables are opened in which a pipeline looks rows up.
func OpenLookups(secrets secret.Source) lookup.Open {
	return func(ctx context.Context, pipeline string, t *lookup.Table) (lookup.Source, error) {
		s, err := openLookup(ctx, pipeline, t, secrets)
		var refused *sink.RefusedError
		if errors.As(err, &refused) {
			return nil, &lookup.RefusedError{Err: err}
		}
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

func openLookup(ctx context.Context, pipeline string, t *lookup.Table, secrets secret.Source) (_ *source, err error) {
	conn, err := New(pipeline, t.Table, secrets, slog.New(slog.DiscardHandler)).connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &source{conn: conn, table: t, limit: maxAnswer}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if encoding := conn.PgConn().ParameterStatus("server_encoding"); encoding != "UTF8" && encoding != "SQL_ASCII" {
		return nil, sink.Refuse("table %s: the database has the encoding %s, which can't hold every value that may be looked up. Use a database with the encoding UTF8", t.Name, encoding)
	}
	if err := s.describe(ctx, t.Delivery.(*plan.JDBC).Table); err != nil { //nolint:forcetypeassert // by contract
		return nil, err
	}
	_, err = s.Rows(ctx, nil) // the user may not be allowed to read the table
	return s, explain(err, "read table %s", t.Name)
}

// Close implements lookup.Source.
func (s *source) Close() { closeConn(s.conn) }

// readableKinds are those of pg_class.relkind: tables, partitioned tables, views, materialized
// views and foreign tables.
var readableKinds = []string{"r", "p", "v", "m", "f"}

// describe finds the table and checks that SQL can represent its values.
func (s *source) describe(ctx context.Context, name string) error {
	found := &target{}
	var kind string
	err := s.conn.QueryRow(ctx, `SELECT c.oid, n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`, name).
		Scan(&found.oid, &found.schema, &found.name, &kind)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return sink.Refuse("table %s does not exist in the database. Create it:\n%s", name, CreateTable(s.table.Table, s.table.Delivery.(*plan.JDBC))) //nolint:forcetypeassert // by contract
	case err != nil:
		return explain(err, "look up table %s", name)
	case !slices.Contains(readableKinds, kind):
		return sink.Refuse("%s is not a table or a view of the database (kind %q). Name one in 'table-name'", name, kind)
	}
	all, err := columnsOf(ctx, s.conn, found.oid)
	if err != nil {
		return explain(err, "look up the columns of table %s", name)
	}
	return s.match(found, all)
}

// match assigns the columns of the database to those of SQL. All differences are in one error.
func (s *source) match(in *target, all []*dbColumn) error {
	var wrong []string
	get := func(c int) *dbColumn {
		of := s.table.Columns[c]
		col := find(all, of.Name)
		switch {
		case col == nil:
			wrong = append(wrong, "column "+of.Name+" is missing")
			return nil
		case !readable(of.Type, col.typ, col.mod):
			wrong = append(wrong, fmt.Sprintf("column %s is %s, which has values that %s does not hold: declare it as %s in the SQL file, or CAST it in a view", col.name, col.shown, of.Type.Nullable(true), advice(col.typ, col.mod)))
			return nil
		}
		return col
	}
	var selected, params, on []string
	for _, c := range s.table.Read {
		if col := get(c); col != nil {
			of := s.table.Columns[c]
			s.read = append(s.read, &readColumn{name: col.name, oid: col.typ, typ: of.Type, types: s.conn.TypeMap()})
			selected = append(selected, "t."+pgx.Identifier{col.name}.Sanitize())
		}
	}
	for i, c := range s.table.Keys {
		col := get(c)
		if col == nil {
			continue
		}
		if !col.sortable {
			wrong = append(wrong, fmt.Sprintf("column %s has a collation in which different strings are equal: look up a column of a view with %s COLLATE \"C\"", col.name, identifier(col.name)))
		}
		k, err := newKeyColumn(s.table.Columns[c].Type, col.typ, s.conn.TypeMap())
		if err != nil {
			return err
		}
		s.keys = append(s.keys, k)
		params = append(params, fmt.Sprintf("$%d::%s[]", i+1, k.sent.name))
		on = append(on, fmt.Sprintf("t.%s = k.c%d", pgx.Identifier{col.name}.Sanitize(), i+1))
	}
	if len(wrong) > 0 {
		return sink.Refuse("table %s does not fit %s of the SQL file: %s", in.identity(), s.table.Name, strings.Join(wrong, "; "))
	}
	s.query = fmt.Sprintf("SELECT %s FROM unnest(%s) WITH ORDINALITY AS k(%s, n) JOIN %s t ON %s",
		strings.Join(append([]string{"k.n::int4"}, selected...), ", "), strings.Join(params, ", "), aliases(len(params)), in.sql(), strings.Join(on, " AND "))
	return nil
}

// Rows implements lookup.Source.
func (s *source) Rows(ctx context.Context, keys []operator.LookupKey) ([][]operator.LookupRow, error) {
	found, err := s.ask(ctx, keys)
	if !errors.Is(err, errLargeAnswer) {
		return found, err
	}
	if len(keys) == 1 {
		return [][]operator.LookupRow{{{Err: fmt.Errorf("table %s has more than %d MiB of rows for the key", s.table.Name, s.limit>>20)}}}, nil
	}
	first, err := s.Rows(ctx, keys[:len(keys)/2])
	if err != nil {
		return nil, err
	}
	second, err := s.Rows(ctx, keys[len(keys)/2:])
	return append(first, second...), err
}

var errLargeAnswer = errors.New("the answer is too large")

// ask runs the query for keys, in a transaction of its own, so that its settings need no session: a
// pooler may give each transaction another one. A statement has one snapshot.
func (s *source) ask(ctx context.Context, keys []operator.LookupKey) ([][]operator.LookupRow, error) {
	params, places := s.parameters(keys)
	oids, formats := make([]uint32, len(params)), make([]int16, len(params))
	for i, k := range s.keys {
		oids[i], formats[i] = k.sent.array, pgx.BinaryFormatCode
	}
	batch := &pgconn.Batch{}
	batch.ExecParams("BEGIN READ ONLY", nil, nil, nil, nil)
	if until, ok := ctx.Deadline(); ok {
		batch.ExecParams(fmt.Sprintf("SET LOCAL statement_timeout = %d", max(1, time.Until(until).Milliseconds())), nil, nil, nil, nil)
	}
	batch.ExecParams(s.query, params, oids, formats, []int16{pgx.BinaryFormatCode})
	batch.ExecParams("COMMIT", nil, nil, nil, nil)
	results := s.conn.PgConn().ExecBatch(ctx, batch)
	all := make([][]operator.LookupRow, len(keys))
	var failed error
	for results.NextResult() {
		r := results.ResultReader()
		if len(r.FieldDescriptions()) == 0 {
			continue
		}
		if err := s.collect(r, places, all); err != nil && failed == nil {
			failed = err
		}
	}
	if err := results.Close(); err != nil {
		return nil, explain(err, "look up rows of table %s", s.table.Name)
	}
	return all, failed
}

// parameters returns an array for each column of the keys, and which keys they contain: those that
// the database can have.
func (s *source) parameters(keys []operator.LookupKey) (params [][]byte, places []int) {
	for i, k := range keys {
		possible := true
		for c, v := range k.Values {
			possible = possible && s.keys[c].possible(v)
		}
		if possible {
			places = append(places, i)
		}
	}
	for c, k := range s.keys {
		values := make([]any, len(places))
		for i, place := range places {
			values[i] = keys[place].Values[c]
		}
		params = append(params, k.encode(values))
	}
	return params, places
}

// collect reads the rows of a result.
func (s *source) collect(r *pgconn.ResultReader, places []int, all [][]operator.LookupRow) error {
	for i, f := range r.FieldDescriptions()[1:] {
		if f.DataTypeOID != s.read[i].oid {
			_, _ = r.Close() // reads the rest
			return fmt.Errorf("column %s of table %s has another type than when the connection was opened", s.read[i].name, s.table.Name)
		}
	}
	size := 0
	for r.NextRow() {
		values := r.Values()
		for _, v := range values {
			size += len(v) + 24
		}
		if size > s.limit {
			continue // the rest has to be read
		}
		place := places[binary.BigEndian.Uint32(values[0])-1]
		all[place] = append(all[place], s.row(values[1:]))
	}
	if size > s.limit {
		return errLargeAnswer
	}
	return nil
}

func (s *source) row(values [][]byte) operator.LookupRow {
	row := operator.LookupRow{Values: make([]any, len(values))}
	for i, v := range values {
		var err error
		if row.Values[i], err = s.read[i].decode(v); err != nil {
			return operator.LookupRow{Err: fmt.Errorf("column %s of table %s: %w", s.read[i].name, s.table.Name, err)}
		}
	}
	return row
}

// keyColumn is a column that is looked up. Keys are sent in the type of SQL, which the database
// compares with that of the column; only a UUID is text in SQL.
type keyColumn struct {
	sent    pgType
	typ     column.Type
	encoder *encoder // nil for a UUID
}

func newKeyColumn(t column.Type, oid uint32, types *pgtype.Map) (*keyColumn, error) {
	if oid == pgUUID.oid {
		return &keyColumn{sent: pgUUID, typ: t}, nil
	}
	k := &keyColumn{sent: scalars[t.Kind][0], typ: t}
	var err error
	k.encoder, err = newEncoder(stored{pgType: k.sent}, t, types)
	return k, err
}

// possible reports whether the column can have a value at all. Others would make the query fail.
func (k *keyColumn) possible(v any) bool {
	text, ok := v.(string)
	switch {
	case !ok || k.sent == pgBytea:
		return true
	case k.sent == pgUUID:
		id, err := parseUUID(text)
		return err == nil && formatUUID(id[:]) == text // the database's text has one form
	}
	return utf8.ValidString(text) && !strings.Contains(text, "\x00")
}

// encode returns values as an array in PostgreSQL's binary format.
func (k *keyColumn) encode(values []any) []byte {
	dst := appendArrayHeader(nil, k.sent.oid, len(values))
	if k.sent == pgUUID {
		for _, v := range values {
			id, _ := parseUUID(v.(string)) //nolint:forcetypeassert // possible has checked it
			dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(id))), id[:]...)
		}
		return dst
	}
	c := &column.Column{Type: k.typ}
	for i, v := range values {
		c.Add(v)
		dst, _ = k.encoder.append(dst, c, i) // fails for JSON only
	}
	return dst
}

func parseUUID(text string) (id [16]byte, err error) {
	var u pgtype.UUID
	err = u.Scan(text)
	return u.Bytes, err
}

func formatUUID(id []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
