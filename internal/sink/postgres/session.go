package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"weir.example/weir/internal/sink"
)

// session is a connection to the database. It implements sink.Session.
type session struct {
	*Target
	conn   *pgx.Conn
	from   sink.Topic
	into   *target
	writer *writer
	epochs map[int32]int64 // of the claimed partitions
}

const closeLimit = 2 * time.Second

// Open implements sink.Target.
func (t *Target) Open(ctx context.Context, from sink.Topic) (_ sink.Session, err error) {
	conn, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeConn(conn)
		}
	}()
	s := &session{Target: t, conn: conn, from: from, epochs: make(map[int32]int64)}
	if err := t.warn(ctx, conn); err != nil {
		return nil, err
	}
	if s.into, err = describe(ctx, conn, t.table, t.jdbc); err != nil {
		return nil, err
	}
	if err := prepare(ctx, conn); err != nil {
		return nil, err
	}
	s.writer, err = newWriter(s.into, t.table, conn)
	return s, err
}

// Close implements sink.Session.
func (s *session) Close() { closeConn(s.conn) }

// delivered names where the rows of the sink are, and by which key they replace each other.
func (s *session) delivered() string {
	text := s.into.identity()
	if len(s.into.key) == 0 {
		return text
	}
	var names []string
	for _, c := range s.into.key {
		names = append(names, c.name)
	}
	return text + " (" + strings.Join(names, ", ") + ")"
}

// Claim implements sink.Session.
func (s *session) Claim(ctx context.Context, partitions []int32) (next map[int32]int64, err error) {
	defer s.rollback(&err)
	if err := s.exec(ctx, begin); err != nil {
		return nil, err
	}
	_, err = s.conn.Exec(ctx, `INSERT INTO weir_offsets (sink, part, next, epoch, topic_id, target)
		SELECT $1, p, 0, 0, $3, $4 FROM unnest($2::int4[]) p ORDER BY p ON CONFLICT DO NOTHING`, s.name, partitions, s.from.ID, s.delivered())
	if err != nil {
		return nil, explain(err, "claim partitions of sink %s", s.name)
	}
	rows, err := s.conn.Query(ctx, `UPDATE weir_offsets SET epoch = epoch + 1, updated_at = now() WHERE sink = $1 AND part = ANY($2::int4[])
		RETURNING part, next, epoch, topic_id, target`, s.name, partitions)
	if err != nil {
		return nil, explain(err, "claim partitions of sink %s", s.name)
	}
	next, epochs := make(map[int32]int64), make(map[int32]int64)
	var part int32
	var at, epoch int64
	var id, target string
	if _, err = pgx.ForEachRow(rows, []any{&part, &at, &epoch, &id, &target}, func() error {
		next[part], epochs[part] = at, epoch
		return sink.CheckIdentity(s.name, s.from, id, target, s.delivered())
	}); err != nil {
		return nil, explain(err, "claim partitions of sink %s", s.name)
	}
	if err := s.commit(ctx); err != nil {
		return nil, err
	}
	maps.Copy(s.epochs, epochs)
	return next, nil
}

// Deliver implements sink.Session.
func (s *session) Deliver(ctx context.Context, b *sink.Batch, refused func([]sink.Refusal) error) (err error) {
	all := s.writer.prepare(b)
	err = s.deliver(ctx, b, all, refused, false)
	if err != nil && byRows(err) {
		err = s.deliver(ctx, b, all, refused, true)
	}
	return err
}

// deliver runs the transaction of a batch. With isolate, rows that the database refuses are found
// and left out; otherwise they are an error.
func (s *session) deliver(ctx context.Context, b *sink.Batch, rows *prepared, refused func([]sink.Refusal) error, isolate bool) (err error) {
	defer s.rollback(&err)
	if err := s.exec(ctx, begin); err != nil {
		return err
	}
	if err := s.advance(ctx, b); err != nil {
		return err
	}
	refusals := slices.Clone(rows.refused)
	write := func(n int, step func(from, to int) error, origin func(int) sink.Refusal) error {
		if !isolate {
			return step(0, n)
		}
		return sink.Isolate(n, func(from, to int) error { return s.savepoint(ctx, func() error { return step(from, to) }) }, byRows,
			func(row int, err error) {
				r := origin(row)
				r.Err = fmt.Errorf("refused by the database: %w", detailed(err))
				refusals = append(refusals, r)
			})
	}
	if err := write(b.Deleted.N, func(from, to int) error { return s.writer.delete(ctx, b, from, to) },
		func(row int) sink.Refusal { return sink.Refusal{Origin: b.DeletedOrigins[row]} }); err != nil {
		return err
	}
	if err := write(len(rows.rows), func(from, to int) error { return s.writer.insert(ctx, b, rows.rows[from:to]) },
		func(row int) sink.Refusal { return sink.Refusal{Origin: b.Origins[rows.rows[row]]} }); err != nil {
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
	return s.commit(ctx)
}

// advance moves the offsets of a batch. It is the first statement of the transaction: a session
// that was fenced finds no rows, and another one has to wait until this one has committed.
func (s *session) advance(ctx context.Context, b *sink.Batch) error {
	var parts []int32
	var from, next, epochs []int64
	for _, p := range slices.Sorted(maps.Keys(b.Next)) {
		parts = append(parts, p)
		from, next, epochs = append(from, b.From[p]), append(next, b.Next[p]), append(epochs, s.epochs[p])
	}
	tag, err := s.conn.Exec(ctx, `UPDATE weir_offsets o SET next = v.next, updated_at = now()
		FROM unnest($2::int4[], $3::int8[], $4::int8[], $5::int8[]) v(part, was, next, epoch)
		WHERE o.sink = $1 AND o.part = v.part AND o.next = v.was AND o.epoch = v.epoch`, s.name, parts, from, next, epochs)
	if err != nil {
		return explain(err, "move the offsets of sink %s", s.name)
	}
	if int(tag.RowsAffected()) != len(parts) {
		return &sink.FencedError{Sink: s.name}
	}
	return nil
}

func (s *session) exec(ctx context.Context, statements string) error {
	_, err := s.conn.PgConn().Exec(ctx, statements).ReadAll()
	return explain(err, "talk to the database")
}

// savepoint runs f, whose changes are undone if it fails.
func (s *session) savepoint(ctx context.Context, f func() error) error {
	if err := s.exec(ctx, "SAVEPOINT weir"); err != nil {
		return err
	}
	if err := f(); err != nil {
		return errors.Join(err, s.exec(ctx, "ROLLBACK TO weir; RELEASE weir"))
	}
	return s.exec(ctx, "RELEASE weir")
}

var errNotCommitted = errors.New("the database rolled the transaction back")

func (s *session) commit(ctx context.Context) error {
	results, err := s.conn.PgConn().Exec(ctx, "COMMIT").ReadAll()
	if err != nil {
		return explain(err, "commit the rows of sink %s", s.name)
	}
	if len(results) != 1 || results[0].CommandTag.String() != "COMMIT" {
		return errNotCommitted
	}
	return nil
}

// rollback ends the transaction after an error, so that the session can be used again.
func (s *session) rollback(err *error) {
	if *err == nil || s.conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	_ = s.exec(ctx, "ROLLBACK")
}
