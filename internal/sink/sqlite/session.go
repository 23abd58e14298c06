package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/sink"
)

// session is a connection to the database. It implements sink.Session.
type session struct {
	*Target
	db   *sql.DB
	conn *sql.Conn
	from sink.Topic
	into *into

	columns, keys       []*binder
	inserting, deleting *sql.Stmt
	counted             bool            // inserting changes a row for each one that it is given
	epochs              map[int32]int64 // of the claimed partitions
}

// Open implements sink.Target.
func (t *Target) Open(ctx context.Context, from sink.Topic) (_ sink.Session, err error) {
	mode := "rw"
	if _, err := os.Stat(t.at.Path); errors.Is(err, fs.ErrNotExist) {
		mode = "rwc"
	}
	db, conn, err := t.connect(ctx, mode)
	if err != nil {
		return nil, err
	}
	s := &session{Target: t, db: db, conn: conn, from: from, epochs: make(map[int32]int64)}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.createTable(ctx); err != nil {
		return nil, err
	}
	if s.into, err = describe(ctx, conn, t.table, t.at); err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, offsetsTable); err != nil {
		return nil, explain(err, "create table weir_offsets")
	}
	return s, s.prepare(ctx)
}

// createTable creates the table in a database that has none, because Open has just created it, or
// an earlier Open that was killed, or did not get a lock, before it had created the table.
func (s *session) createTable(ctx context.Context) error {
	if empty, err := s.empty(ctx); err != nil || !empty {
		return err
	}
	return s.transaction(ctx, func() error {
		empty, err := s.empty(ctx) // another process may have been faster
		if err == nil && empty {
			_, err = s.conn.ExecContext(ctx, CreateTable(s.table, s.at))
		}
		return explain(err, "create table %s", s.at.Table)
	})
}

// empty reports whether the database has nothing, so that nobody else uses it.
func (s *session) empty(ctx context.Context) (bool, error) {
	var n int
	err := s.conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&n)
	return n == 0, explain(err, "look up the tables of %s", s.at.Path)
}

// prepare prepares the statements that write rows.
func (s *session) prepare(ctx context.Context) (err error) {
	var names, keys, sets, matches []string
	for i, c := range s.into.columns {
		name := quote(c.name)
		names = append(names, name)
		if !slices.Contains(s.into.key, c) {
			sets = append(sets, name+" = excluded."+name)
		}
		b, err := newBinder(c.name, s.table.Kafka.Value.Fields[i].Type)
		if err != nil {
			return err
		}
		s.columns = append(s.columns, b)
	}
	insert := fmt.Sprintf("INSERT INTO %s (%s) VALUES (?%s)", quote(s.into.name), strings.Join(names, ", "), strings.Repeat(", ?", len(names)-1))
	s.counted = true
	if len(s.into.key) > 0 {
		for i, c := range s.into.key {
			keys, matches = append(keys, quote(c.name)), append(matches, quote(c.name)+" = ?")
			b, err := newBinder(c.name, s.table.Kafka.Key.Fields[i].Type)
			if err != nil {
				return err
			}
			s.keys = append(s.keys, b)
		}
		on := "NOTHING"
		if s.counted = len(sets) > 0; s.counted {
			on = "UPDATE SET " + strings.Join(sets, ", ")
		}
		insert += fmt.Sprintf(" ON CONFLICT (%s) DO %s", strings.Join(keys, ", "), on)
		if s.deleting, err = s.conn.PrepareContext(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s", quote(s.into.name), strings.Join(matches, " AND "))); err != nil {
			return explain(err, "prepare the deletion of rows")
		}
	}
	s.inserting, err = s.conn.PrepareContext(ctx, insert)
	return explain(err, "prepare the insertion of rows")
}

// Close implements sink.Session.
func (s *session) Close() {
	_ = s.conn.Close()
	_ = s.db.Close()
}

// delivered names where the rows of the sink are, and by which key they replace each other.
func (s *session) delivered() string {
	if len(s.into.key) == 0 {
		return s.into.name
	}
	var names []string
	for _, c := range s.into.key {
		names = append(names, c.name)
	}
	return s.into.name + " (" + strings.Join(names, ", ") + ")"
}

// transaction runs f in a transaction, which has the lock for writing from its beginning.
func (s *session) transaction(ctx context.Context, f func() error) (err error) {
	if _, err := s.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return explain(err, "begin a transaction in %s", s.at.Path)
	}
	defer func() {
		if err != nil { // also after a failed commit, and no error if a trigger has rolled back
			_, _ = s.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	if err := f(); err != nil {
		return err
	}
	_, err = s.conn.ExecContext(ctx, "COMMIT")
	return explain(err, "commit the rows of sink %s", s.name)
}

func now() string { return time.Now().UTC().Format("2006-01-02 15:04:05.000") }

// Claim implements sink.Session.
func (s *session) Claim(ctx context.Context, partitions []int32) (map[int32]int64, error) {
	next, epochs := make(map[int32]int64), make(map[int32]int64)
	err := s.transaction(ctx, func() error {
		for _, p := range partitions {
			_, err := s.conn.ExecContext(ctx, "INSERT INTO weir_offsets (sink, part, next, epoch, topic_id, target, updated_at) VALUES (?, ?, 0, 0, ?, ?, ?) ON CONFLICT DO NOTHING",
				s.name, p, s.from.ID, s.delivered(), now())
			if err != nil {
				return explain(err, "claim partitions of sink %s", s.name)
			}
			var at, epoch int64
			var id, target string
			err = s.conn.QueryRowContext(ctx, "UPDATE weir_offsets SET epoch = epoch + 1, updated_at = ? WHERE sink = ? AND part = ? RETURNING next, epoch, topic_id, target", now(), s.name, p).
				Scan(&at, &epoch, &id, &target)
			if err != nil {
				return explain(err, "claim partitions of sink %s", s.name)
			}
			if err := sink.CheckIdentity(s.name, s.from, id, target, s.delivered()); err != nil {
				return err
			}
			next[p], epochs[p] = at, epoch
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	maps.Copy(s.epochs, epochs)
	return next, nil
}

// Deliver implements sink.Session. A statement that fails for its row has changed nothing, so that
// refused rows are found one by one.
func (s *session) Deliver(ctx context.Context, b *sink.Batch, refused func([]sink.Refusal) error) error {
	return s.transaction(ctx, func() error {
		if err := s.advance(ctx, b); err != nil {
			return err
		}
		var refusals []sink.Refusal
		write := func(rows *column.Batch, origins []*kgo.Record, run func(row int) error) error {
			for row := range rows.N {
				err := run(row)
				if err != nil && !byRow(err) {
					return explain(err, "write rows to table %s", s.into.name)
				}
				if err != nil {
					refusals = append(refusals, sink.Refusal{Origin: origins[row], Err: fmt.Errorf("refused by the database: %w", err)})
				}
			}
			return nil
		}
		if err := write(b.Deleted, b.DeletedOrigins, func(row int) error { return s.execute(ctx, s.deleting, s.keys, b.Deleted, row, false) }); err != nil {
			return err
		}
		if err := write(b.Rows, b.Origins, func(row int) error { return s.execute(ctx, s.inserting, s.columns, b.Rows, row, s.counted) }); err != nil {
			return err
		}
		if len(refusals) > 0 {
			if err := refused(refusals); err != nil {
				return err
			}
		}
		if s.failpoint != nil {
			s.failpoint()
		}
		return nil
	})
}

// execute runs a statement for a row. counted says that it must change one.
func (s *session) execute(ctx context.Context, statement *sql.Stmt, binders []*binder, rows *column.Batch, row int, counted bool) error {
	values := make([]any, len(binders))
	for i, b := range binders {
		var err error
		if values[i], err = b.value(rows.Cols[i], row); err != nil {
			return rowError{err}
		}
	}
	done, err := statement.ExecContext(ctx, values...)
	if err != nil || !counted {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n != 1 {
		return errors.Join(sink.Refuse("the database did not take a row: a trigger of table %s drops it", s.into.name), err)
	}
	return nil
}

// advance moves the offsets of a batch. A session that was fenced finds no rows.
func (s *session) advance(ctx context.Context, b *sink.Batch) error {
	for _, p := range slices.Sorted(maps.Keys(b.Next)) {
		done, err := s.conn.ExecContext(ctx, "UPDATE weir_offsets SET next = ?, updated_at = ? WHERE sink = ? AND part = ? AND next = ? AND epoch = ?",
			b.Next[p], now(), s.name, p, b.From[p], s.epochs[p])
		if err != nil {
			return explain(err, "move the offsets of sink %s", s.name)
		}
		if n, err := done.RowsAffected(); err != nil || n != 1 {
			return errors.Join(&sink.FencedError{Sink: s.name}, err)
		}
	}
	return nil
}
