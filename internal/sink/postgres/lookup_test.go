package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/lookup"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/stack"
)

// lookupTable plans a lookup by the columns keys, and returns the table as it is opened, with the
// columns read.
func lookupTable(t *testing.T, s *stack.Postgres, database, columns string, keys, read []string) *lookup.Table {
	t.Helper()
	with := fmt.Sprintf("'connector' = 'jdbc', 'url' = '%s', 'table-name' = 't', 'username' = '%s', 'password' = '%s'", s.URL(database), stack.PostgresUser, stack.PostgresPassword)
	var on []string
	for _, k := range keys {
		on = append(on, fmt.Sprintf("r.%[1]s = t.%[1]s", k))
	}
	text := fmt.Sprintf(`CREATE TABLE t (%[1]s) WITH (%[2]s);
CREATE TABLE r (%[1]s, proc_time AS PROCTIME()) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
CREATE TABLE o WITH ('connector' = 'kafka', 'topic' = 'o', 'format' = 'json') AS SELECT t.%[3]s FROM r JOIN t FOR SYSTEM_TIME AS OF r.proc_time ON %[4]s;`,
		columns, with, strings.Join(read, ", t."), strings.Join(on, " AND "))
	p, err := plan.Compile(text, "test")
	if err != nil {
		t.Fatal(err)
	}
	r := p.Lookups()[0]
	j := r.Op.(*plan.LookupJoin)
	return &lookup.Table{Table: j.Table, Keys: j.Keys, Read: j.Columns(r)}
}

// found looks values up, and returns the rows of each as text.
func found(t *testing.T, s lookup.Source, of *lookup.Table, keys ...[]any) (all []string) {
	t.Helper()
	asked := make([]operator.LookupKey, len(keys))
	for i, k := range keys {
		asked[i].Values = k
	}
	rows, err := s.Rows(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range rows {
		var texts []string
		for _, r := range each {
			if r.Err != nil {
				texts = append(texts, "error: "+r.Err.Error())
				continue
			}
			var values []string
			for i, v := range r.Values {
				if v == nil {
					values = append(values, "NULL")
					continue
				}
				values = append(values, expr.Format(v, of.Columns[of.Read[i]].Type))
			}
			texts = append(texts, strings.Join(values, "|"))
		}
		all = append(all, strings.Join(texts, " & "))
	}
	return all
}

func openTable(t *testing.T, of *lookup.Table) lookup.Source {
	t.Helper()
	s, err := OpenLookups(secret.Source{})(t.Context(), "test", of)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// empty empties a database. A database for each case would take longer.
const empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public; "

// Every type is looked up and read as it was written; a value that SQL does not have is an error of
// its row only.
func TestLookupTypes(t *testing.T) {
	server, db, conn := database(t)
	for name, c := range map[string]struct {
		sql, pg string
		values  []string // of the database
		keys    []any    // that find them
		want    []string
		other   []any // keys that find nothing
	}{
		"string":     {"STRING", "text", []string{"'a'", "'ü'''", "''", "'a '"}, []any{"a", "ü'", "", "a "}, []string{"'a'", "'ü'''", "''", "'a '"}, []any{"b", "A", "a\x00", "\xff"}},
		"varchar":    {"VARCHAR(10)", "varchar(10)", []string{"'a'", "'a '"}, []any{"a", "a "}, []string{"'a'", "'a '"}, []any{"far too long for it"}},
		"uuid":       {"STRING", "uuid", []string{"'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"}, []any{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}, []string{"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"}, []any{"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "x", "", "a0eebc999c0b4ef8bb6d6bb9bd380a11"}},
		"boolean":    {"BOOLEAN", "boolean", []string{"true"}, []any{true}, []string{"TRUE"}, []any{false}},
		"smallint":   {"SMALLINT", "smallint", []string{"-32768"}, []any{int64(-32768)}, []string{"-32768"}, []any{int64(1)}},
		"tinyint":    {"TINYINT", "smallint", []string{"-128"}, []any{int64(-128)}, []string{"-128"}, []any{int64(1)}},
		"int":        {"INT", "integer", []string{"-2147483648", "7"}, []any{int64(-2147483648), int64(7)}, []string{"-2147483648", "7"}, []any{int64(1)}},
		"bigint":     {"BIGINT", "bigint", []string{"9223372036854775807"}, []any{int64(9223372036854775807)}, []string{"9223372036854775807"}, []any{int64(-1)}},
		"narrow":     {"BIGINT", "integer", []string{"5"}, []any{int64(5)}, []string{"5"}, []any{int64(5) + 1<<32}},
		"decimal":    {"DECIMAL(10, 2)", "numeric(10, 2)", []string{"-0.05", "12345678.90"}, []any{decimal(t, "-0.05"), decimal(t, "12345678.90")}, []string{"-0.05", "12345678.90"}, []any{decimal(t, "0.05")}},
		"numeric":    {"DECIMAL(10, 2)", "numeric", []string{"1.5", "100"}, []any{decimal(t, "1.5"), decimal(t, "100")}, []string{"1.50", "100.00"}, []any{decimal(t, "10000")}},
		"bytes":      {"BYTES", "bytea", []string{`'\x00ff'`}, []any{"\x00\xff"}, []string{"x'00ff'"}, []any{"\x00"}},
		"date":       {"DATE", "date", []string{"'1969-12-31'", "'9999-12-31'"}, []any{int64(-1), int64(2932896)}, []string{"DATE '1969-12-31'", "DATE '9999-12-31'"}, []any{int64(0)}},
		"time":       {"TIME(3)", "time", []string{"'23:59:59.999'"}, []any{int64(86399999)}, []string{"TIME '23:59:59.999'"}, []any{int64(0)}},
		"timestamp":  {"TIMESTAMP(6)", "timestamp", []string{"'1969-12-31 23:59:59.999999'"}, []any{int64(-1)}, []string{"TIMESTAMP '1969-12-31 23:59:59.999999'"}, []any{int64(1)}},
		"timestamps": {"TIMESTAMP(3)", "timestamp(3)", []string{"'2026-01-01 00:00:00.001'"}, []any{int64(1767225600001000)}, []string{"TIMESTAMP '2026-01-01 00:00:00.001'"}, []any{int64(1767225600001001)}},
		"instant":    {"TIMESTAMP_LTZ(6)", "timestamptz", []string{"'1970-01-01 01:00:00+01'"}, []any{int64(0)}, []string{"TIMESTAMP '1970-01-01 00:00:00'"}, []any{int64(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, conn, empty+"CREATE TABLE t (k "+c.pg+", n bigint)")
			of := lookupTable(t, server, db, "k "+c.sql+", n BIGINT", []string{"k"}, []string{"k", "n"})
			s := openTable(t, of)
			var keys [][]any
			for i, v := range c.values {
				run(t, conn, fmt.Sprintf("INSERT INTO t VALUES (%s, %d)", v, i))
				keys = append(keys, []any{c.keys[i]})
			}
			run(t, conn, "INSERT INTO t VALUES (NULL, 99)")
			for _, k := range c.other {
				keys = append(keys, []any{k})
			}
			for i, got := range found(t, s, of, keys...) {
				want := ""
				if i < len(c.want) {
					want = fmt.Sprintf("%s|%d", c.want[i], i)
				}
				if got != want {
					t.Errorf("key %q: %q, want %q", keys[i], got, want)
				}
			}
		})
	}
}

func decimal(t *testing.T, text string) any {
	t.Helper()
	v, err := column.ParseDecimal(text, column.OfDecimal(10, 2))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A value that the type of SQL does not hold is an error, and never another value.
func TestLookupValuesThatDoNotFit(t *testing.T) {
	server, db, conn := database(t)
	run(t, conn, "CREATE TABLE t (k int, a numeric, b timestamp, c time, d date, e smallint, f text)")
	of := lookupTable(t, server, db, "k INT, a DECIMAL(4, 1), b TIMESTAMP(6), c TIME(3), d DATE, e TINYINT, f STRING NOT NULL", []string{"k"}, []string{"a", "b", "c", "d", "e", "f"})
	s := openTable(t, of)
	for i, c := range []struct{ values, want string }{
		{"1.5, '2026-01-01', '12:00:00.001', '2026-01-01', 127, ''", "1.5|TIMESTAMP '2026-01-01 00:00:00'|TIME '12:00:00.001'|DATE '2026-01-01'|127|''"},
		{"NULL, NULL, NULL, NULL, NULL, 'x'", "NULL|NULL|NULL|NULL|NULL|'x'"},
		{"1.55, NULL, NULL, NULL, NULL, 'x'", "error: column a of table t: DECIMAL(4, 1) does not hold its value"},
		{"1000, NULL, NULL, NULL, NULL, 'x'", "error: column a"},
		{"'NaN', NULL, NULL, NULL, NULL, 'x'", "error: column a of table t: its value is not a number"},
		{"NULL, 'infinity', NULL, NULL, NULL, 'x'", "error: column b of table t: its value is infinite"},
		{"NULL, '0044-03-15 BC', NULL, NULL, NULL, 'x'", "error: column b"},
		{"NULL, NULL, '12:00:00.0001', NULL, NULL, 'x'", "error: column c of table t: TIME(3) does not hold 12:00:00.000100"},
		{"NULL, NULL, '24:00', NULL, NULL, 'x'", "error: column c"},
		{"NULL, NULL, NULL, '-infinity', NULL, 'x'", "error: column d"},
		{"NULL, NULL, NULL, '10000-01-01', NULL, 'x'", "error: column d"},
		{"NULL, NULL, NULL, NULL, 128, 'x'", "error: column e of table t: TINYINT does not hold 128"},
		{"NULL, NULL, NULL, NULL, NULL, NULL", "error: column f of table t: it is NULL, but declared NOT NULL"},
	} {
		run(t, conn, fmt.Sprintf("INSERT INTO t VALUES (%d, %s)", i, c.values))
		if got := found(t, s, of, []any{int64(i)}); !strings.HasPrefix(got[0], c.want) || c.want == "" {
			t.Errorf("%s: %q, want %q", c.values, got[0], c.want)
		}
	}
}

// What the SQL table does not hold is refused when the table is opened.
func TestLookupRefusals(t *testing.T) {
	const columns = "k STRING, v INT, s DECIMAL(10, 2), ts TIMESTAMP(3)"
	server, db, conn := database(t)
	for name, c := range map[string]struct{ create, want string }{
		"missing":    {"", "does not exist in the database. Create it:"},
		"column":     {"CREATE TABLE t (k text, s numeric(10, 2), ts timestamp(3))", "column v is missing"},
		"wide":       {"CREATE TABLE t (k text, v bigint, s numeric(10, 2), ts timestamp(3))", "column v is bigint, which has values that INT does not hold: declare it as BIGINT in the SQL file"},
		"scale":      {"CREATE TABLE t (k text, v int, s numeric(10, 3), ts timestamp(3))", "column s is numeric(10,3), which has values that DECIMAL(10, 2) does not hold: declare it as DECIMAL(10, 3)"},
		"precision":  {"CREATE TABLE t (k text, v int, s numeric(10, 2), ts timestamp)", "declare it as TIMESTAMP(6)"},
		"padded":     {"CREATE TABLE t (k char(5), v int, s numeric(10, 2), ts timestamp(3))", "column k is character(5), which has values that STRING does not hold: declare it as CHAR(5)"},
		"time zone":  {"CREATE TABLE t (k text, v int, s numeric(10, 2), ts timestamptz(3))", "column ts is timestamp(3) with time zone"},
		"uncollated": {"CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TABLE t (k text COLLATE ci, v int, s numeric(10, 2), ts timestamp(3))", "collation in which different strings are equal"},
		"enum":       {"CREATE TYPE color AS ENUM ('red'); CREATE TABLE t (k color, v int, s numeric(10, 2), ts timestamp(3))", "column k is color"},
		"domain":     {"CREATE DOMAIN name_ AS text; CREATE TABLE t (k name_, v int, s numeric(10, 2), ts timestamp(3))", "column k is name_"},
		"sequence":   {"CREATE SEQUENCE t", "not a table or a view"},
		"fits":       {"CREATE TABLE t (k varchar(5), v smallint, s numeric(9, 1), ts timestamp(0))", ""},
		"view":       {"CREATE TABLE u (id int); CREATE VIEW t AS SELECT id::text AS k, id AS v, id::numeric(10, 2) AS s, now()::timestamp(3) AS ts FROM u", ""},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, conn, empty+c.create)
			of := lookupTable(t, server, db, columns, []string{"k"}, []string{"k", "v", "s", "ts"})
			s, err := OpenLookups(secret.Source{})(t.Context(), "test", of)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				return
			}
			if !errors.As(err, new(*lookup.RefusedError)) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// A user who may not read the table is refused, and the session can't write.
func TestLookupsOnlyRead(t *testing.T) {
	server, db, conn := database(t)
	run(t, conn, "CREATE TABLE t (k int, v text); CREATE ROLE reader LOGIN PASSWORD 'not-a-secret'; CREATE FUNCTION sly() RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (1, 'x'); RETURN 'x'; END $$")
	of := lookupTable(t, server, db, "k INT, v STRING", []string{"k"}, []string{"v"})
	of.Delivery.(*plan.JDBC).User = "reader"
	_, err := OpenLookups(secret.Source{})(t.Context(), "test", of)
	if !errors.As(err, new(*lookup.RefusedError)) || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("error %v", err)
	}
	run(t, conn, "GRANT SELECT ON t TO reader")
	found(t, openTable(t, of), of, []any{int64(1)})
	of.Delivery.(*plan.JDBC).User = stack.PostgresUser
	of.Delivery.(*plan.JDBC).Table = "w"
	run(t, conn, "INSERT INTO t VALUES (2, 'y'); CREATE VIEW w AS SELECT k, sly() AS v FROM t")
	s, err := OpenLookups(secret.Source{})(t.Context(), "test", of)
	if err == nil {
		_, err = s.Rows(t.Context(), []operator.LookupKey{{Values: []any{int64(2)}}})
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("error %v", err)
	}
}

// A statement takes no longer than the transaction has, also while somebody holds a lock.
func TestLookupTimeout(t *testing.T) {
	server, db, conn := database(t)
	run(t, conn, "CREATE TABLE t (k int, v text)")
	of := lookupTable(t, server, db, "k INT, v STRING", []string{"k"}, []string{"v"})
	s := openTable(t, of)
	run(t, conn, "BEGIN; LOCK TABLE t")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Rows(ctx, []operator.LookupKey{{Values: []any{int64(1)}}}); err == nil {
		t.Error("no error")
	}
	run(t, conn, "COMMIT")
}

// Many keys of several columns, with several rows each: what is found equals what is computed here.
func TestLookupManyKeys(t *testing.T) {
	server, db, conn := database(t)
	run(t, conn, "CREATE TABLE t (a text, b bigint, v text)")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	want := make(map[string]int)
	var insert strings.Builder
	for i := range 3000 {
		a, b := fmt.Sprintf("d%d", random.IntN(40)), random.IntN(40)
		want[fmt.Sprint(a, "/", b)]++
		fmt.Fprintf(&insert, "INSERT INTO t VALUES ('%s', %d, '%s/%d/%d');", a, b, a, b, i)
	}
	run(t, conn, insert.String())
	of := lookupTable(t, server, db, "a STRING, b BIGINT, v STRING", []string{"a", "b"}, []string{"v"})
	s := openTable(t, of)
	var keys [][]any
	for a := range 42 {
		for b := range 42 {
			keys = append(keys, []any{fmt.Sprintf("d%d", a), int64(b)})
		}
	}
	for i, rows := range found(t, s, of, keys...) {
		k := fmt.Sprint(keys[i][0], "/", keys[i][1])
		n := 0
		if rows != "" {
			for _, r := range strings.Split(rows, " & ") {
				if n++; !strings.HasPrefix(r, "'"+k+"/") {
					t.Fatalf("key %s found %s", k, r)
				}
			}
		}
		if n != want[k] {
			t.Errorf("key %s: %d rows, want %d", k, n, want[k])
		}
	}
}

// An answer that would take too much memory is split; that of a single key is an error of its rows.
func TestLargeAnswers(t *testing.T) {
	server, db, conn := database(t)
	run(t, conn, "CREATE TABLE t (k int, v text); INSERT INTO t SELECT i, repeat('x', 400000) FROM generate_series(1, 6) i; INSERT INTO t SELECT 7, repeat('x', 400000) FROM generate_series(1, 4)")
	of := lookupTable(t, server, db, "k INT, v STRING", []string{"k"}, []string{"v"})
	s := openTable(t, of)
	s.(*source).limit = 1 << 20
	var keys [][]any
	for k := range 8 {
		keys = append(keys, []any{int64(k)})
	}
	for k, rows := range found(t, s, of, keys...) {
		switch {
		case k == 0 && rows != "", k > 0 && k < 7 && len(rows) != 400_000+len("''"):
			t.Errorf("key %d has %d bytes", k, len(rows))
		case k == 7 && !strings.HasPrefix(rows, "error: table t has more than 1 MiB of rows for the key"):
			t.Errorf("key 7: %.60s", rows)
		}
	}
}

// A column that gets another type while the connection is open is noticed.
func TestLookupColumnChanges(t *testing.T) {
	server, db, conn := database(t)
	run(t, conn, "CREATE TABLE t (k int, v int); INSERT INTO t VALUES (1, 2)")
	of := lookupTable(t, server, db, "k INT, v INT", []string{"k"}, []string{"v"})
	s := openTable(t, of)
	run(t, conn, "ALTER TABLE t ALTER v TYPE text")
	if _, err := s.Rows(t.Context(), []operator.LookupKey{{Values: []any{int64(1)}}}); err == nil || !strings.Contains(err.Error(), "another type") {
		t.Errorf("error %v", err)
	}
}
