package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// postgresSnapshot is a transaction of PostgreSQL that only reads.
type postgresSnapshot struct {
	conn *pgx.Conn
	tx   pgx.Tx
}

func openPostgres(ctx context.Context, config *pgx.ConnConfig) (snapshot, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return &postgresSnapshot{conn, tx}, nil
}

func (s *postgresSnapshot) side() side { return ofDatabase }

func (s *postgresSnapshot) close(ctx context.Context) {
	_ = s.tx.Rollback(ctx)
	_ = s.conn.Close(ctx)
}

func (s *postgresSnapshot) positions(ctx context.Context, sink string, fn func(part int32, next int64, topicID string)) error {
	rows, err := s.tx.Query(ctx, "SELECT part, next, topic_id FROM weir_offsets WHERE sink = $1", sink)
	if err != nil {
		return err
	}
	var part int32
	var at int64
	var id string
	_, err = pgx.ForEachRow(rows, []any{&part, &at, &id}, func() error {
		fn(part, at, id)
		return nil
	})
	return err
}

func (s *postgresSnapshot) rows(ctx context.Context, of DatabaseConfig, fn func(text string, in rowPlace) error) error {
	for _, setting := range []string{"TIME ZONE 'UTC'", "extra_float_digits = 1", "bytea_output = hex"} {
		if _, err := s.tx.Exec(ctx, "SET LOCAL "+setting); err != nil {
			return err
		}
	}
	names, err := s.columnNames(ctx, of)
	if err != nil {
		return err
	}
	var table string // quoted where it has to be
	if err := s.tx.QueryRow(ctx, "SELECT ($1::text)::regclass::text", of.Table).Scan(&table); err != nil {
		return err
	}
	rows, err := s.tx.Query(ctx, fmt.Sprintf("SELECT to_json(x)::text FROM (SELECT %s FROM %s) x", strings.Join(names, ", "), table))
	if err != nil {
		return err
	}
	var text string
	_, err = pgx.ForEachRow(rows, []any{&text}, func() error { return fn(text, rowPlace{}) })
	return err
}

// columnNames returns the table's columns, renamed like the fields of the topic. A name without
// quotes is lower case in the database.
func (s *postgresSnapshot) columnNames(ctx context.Context, of DatabaseConfig) ([]string, error) {
	rows, err := s.tx.Query(ctx, "SELECT attname FROM pg_attribute WHERE attrelid = ($1::text)::regclass AND attnum > 0 AND NOT attisdropped", of.Table)
	if err != nil {
		return nil, err
	}
	have, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	var all []string
	for _, col := range of.Columns {
		name := strings.ToLower(col.Field)
		if !slices.Contains(have, name) {
			name = col.Field
		}
		all = append(all, pgx.Identifier{name}.Sanitize()+" AS "+pgx.Identifier{col.Field}.Sanitize())
	}
	return all, nil
}
