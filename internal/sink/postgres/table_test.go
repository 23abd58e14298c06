package postgres

import (
	"errors"
	"strings"
	"testing"

	"weir.example/weir/internal/sink"
)

// A table that does not fit is refused before the first row. After the statements that the error
// prints, it fits.
func TestTableDoesNotFit(t *testing.T) {
	const columns = "k STRING, v BIGINT, s DECIMAL(10, 4), ts TIMESTAMP(6)"
	for name, c := range map[string]struct{ create, what string }{
		"missing":     {"", "does not exist"},
		"columns":     {"CREATE TABLE t (k text PRIMARY KEY, v integer, ts timestamp(3), extra int NOT NULL)", "column v is integer, which does not hold every value of BIGINT; column s is missing; column ts is timestamp(3)"},
		"scale":       {"CREATE TABLE t (k text PRIMARY KEY, v bigint, s numeric(10, 2), ts timestamp)", "column s is numeric(10,2)"},
		"no key":      {"CREATE TABLE t (k text, v bigint, s numeric, ts timestamp)", "no unique index"},
		"other key":   {"CREATE TABLE t (k text, v bigint, s numeric, ts timestamp, UNIQUE (k, v))", "no unique index"},
		"partial":     {"CREATE TABLE t (k text NOT NULL, v bigint, s numeric, ts timestamp); CREATE UNIQUE INDEX ON t (k) WHERE v > 0", "no unique index"},
		"unlogged":    {"CREATE UNLOGGED TABLE t (k text PRIMARY KEY, v bigint, s numeric, ts timestamp)", "unlogged"},
		"generated":   {"CREATE TABLE t (k text PRIMARY KEY, v bigint GENERATED ALWAYS AS (1) STORED, s numeric, ts timestamp)", "column v is always generated"},
		"padded":      {"CREATE TABLE t (k char(10) PRIMARY KEY, v bigint, s numeric, ts timestamp)", "column k is character(10)"},
		"uncollated":  {"CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TABLE t (k text COLLATE ci PRIMARY KEY, v bigint, s numeric, ts timestamp)", "different strings are equal"},
		"time zone":   {"CREATE TABLE t (k text PRIMARY KEY, v bigint, s numeric, ts timestamptz)", "column ts is timestamp with time zone"},
		"fits at all": {"CREATE TABLE t (k varchar(40) PRIMARY KEY, v numeric, s numeric(30, 5), ts timestamp, other int DEFAULT 1)", ""},
	} {
		t.Run(name, func(t *testing.T) {
			server, db, conn := database(t)
			p, of := table(t, server, db, columns, "k")
			target := newTarget(p, of)
			if c.create != "" {
				run(t, conn, c.create)
			}
			from := sink.Topic{Name: "test.t.out", ID: "topic"}
			s, err := target.Open(t.Context(), from)
			if c.what == "" {
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				return
			}
			if !errors.As(err, new(*sink.RefusedError)) || !strings.Contains(err.Error(), c.what) {
				t.Fatalf("error %v, want %q", err, c.what)
			}
			_, fixes, _ := strings.Cut(err.Error(), ":\n")
			if fixes == "" {
				t.Fatalf("no statement in %v", err)
			}
			run(t, conn, fixes)
			if s, err = target.Open(t.Context(), from); err != nil {
				t.Fatalf("after its statements: %v", err)
			}
			s.Close()
		})
	}
}

// Views can't be written together with offsets; and a name is looked up as in SQL.
func TestTableNames(t *testing.T) {
	server, db, conn := database(t)
	p, of := table(t, server, db, "deviceId STRING", "")
	target := newTarget(p, of)
	run(t, conn, `CREATE SCHEMA s; CREATE TABLE s.t (deviceid text, "deviceId" int); CREATE VIEW t AS TABLE s.t; CREATE TABLE "T" ("deviceId" text)`)
	for name, want := range map[string]string{"t": "not a table", "s.t": "", "S.T": "", `"T"`: "", `public."T"`: "", "u": "does not exist", "a b": "syntax"} {
		target.jdbc.Table = name
		s, err := target.Open(t.Context(), sink.Topic{Name: "test.t.out", ID: "topic"})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case want == "":
			s.Close()
		case err == nil || name != "a b" && !strings.Contains(err.Error(), want) || !errors.As(err, new(*sink.RefusedError)):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Passwords are in no error.
func TestPasswordIsHidden(t *testing.T) {
	server, db, _ := database(t)
	p, of := table(t, server, db, "k STRING", "")
	for _, c := range []struct{ url, password string }{
		{server.URL(db), "wrong-hunter2"}, {server.URL("none"), "wrong-hunter2"}, {server.URL(db) + "?sslmode=hunter2", "hunter2"},
		{"jdbc:postgresql://127.0.0.1:1/x?password=hunter2", ""}, {server.URL(db) + "?sslrootcert=/none&sslmode=verify-full", "hunter2"},
	} {
		target := newTarget(p, of)
		target.jdbc.URL, target.jdbc.Password = c.url, c.password
		if c.password == "" {
			target.jdbc.User = ""
		}
		_, err := target.Open(t.Context(), sink.Topic{})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}
