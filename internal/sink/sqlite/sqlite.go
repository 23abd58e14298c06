// Package sqlite delivers rows to tables of SQLite, a database in a file. Rows and the offsets of
// the result topic are written in one transaction of the database, as package postgres does it.
//
//	sqlite.go   Target: opening the file; positions
//	session.go  claims of partitions, and deliveries
//	table.go    the columns and the key of a table in the database, and whether rows fit
//	values.go   values of rows as SQLite stores them
//	ddl.go      CREATE TABLE and ALTER TABLE
//	errors.go   what an error of the database means
//
// SQLite has five types of values, and a column converts what is written to it by its affinity:
// https://www.sqlite.org/datatype3.html. Columns that would change values are refused.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	_ "modernc.org/sqlite" // the driver

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
)

// Target is a table of a database file. It implements sink.Target.
type Target struct {
	name  string // of the sink
	table *plan.Table
	at    *plan.SQLite

	// failpoint, if set, is called in a delivery after the rows are written and before the commit.
	failpoint func()
}

// New returns the target of a table with the connector jdbc and a URL of SQLite.
func New(pipeline string, t *plan.Table) *Target {
	return &Target{name: sink.Name(pipeline, t.Name), table: t, at: t.Delivery.(*plan.SQLite)} //nolint:forcetypeassert // by contract
}

// settings are those of a connection: a commit is durable when it returns, readers are never
// blocked, and a writer waits for another one.
const settings = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL"

// connect opens the database. The caller closes both results, the connection first.
func (t *Target) connect(ctx context.Context, mode string) (*sql.DB, *sql.Conn, error) {
	name := (&url.URL{Path: t.at.Path}).EscapedPath()
	db, err := sql.Open("sqlite", "file:"+name+"?mode="+mode)
	if err != nil {
		return nil, nil, explain(err, "open database %s", t.at.Path)
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err == nil {
		if _, err = conn.ExecContext(ctx, settings); err == nil {
			return db, conn, nil
		}
		err = errors.Join(err, conn.Close())
	}
	return nil, nil, errors.Join(explain(err, "open database %s", t.at.Path), db.Close())
}

// Positions implements sink.Target.
func (t *Target) Positions(ctx context.Context, from sink.Topic) (map[int32]int64, error) {
	all := make(map[int32]int64)
	if _, err := os.Stat(t.at.Path); errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	db, conn, err := t.connect(ctx, "rw")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	defer conn.Close()
	known, err := exists(ctx, conn, "weir_offsets")
	if err != nil || !known {
		return all, err
	}
	rows, err := conn.QueryContext(ctx, "SELECT part, next FROM weir_offsets WHERE sink = ? AND topic_id = ?", t.name, from.ID)
	if err != nil {
		return nil, explain(err, "read the positions of sink %s", t.name)
	}
	defer rows.Close()
	for rows.Next() {
		var part int32
		var next int64
		if err := rows.Scan(&part, &next); err != nil {
			return nil, explain(err, "read the positions of sink %s", t.name)
		}
		all[part] = next
	}
	return all, explain(rows.Err(), "read the positions of sink %s", t.name)
}

// AcceptPosition implements sink.Target.
func (t *Target) AcceptPosition(partition int32, next int64) string {
	return fmt.Sprintf("run in the database %s: UPDATE weir_offsets SET next = %d WHERE sink = '%s' AND part = %d", t.at.Path, next, t.name, partition)
}

// quote returns a name as SQL.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
