package audit

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver
)

// sqliteSnapshot is a transaction of SQLite that only reads.
type sqliteSnapshot struct {
	db *sql.DB
	tx *sql.Tx
}

func openSQLite(ctx context.Context, file string) (snapshot, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &sqliteSnapshot{db, tx}, nil
}

// side implements snapshot: SQLite has the texts that the topic has, except for what rows writes.
func (s *sqliteSnapshot) side() side { return ofTopic }

func (s *sqliteSnapshot) close(context.Context) {
	_ = s.tx.Rollback()
	_ = s.db.Close()
}

func (s *sqliteSnapshot) positions(ctx context.Context, sink string, fn func(part int32, next int64, topicID string)) error {
	rows, err := s.tx.QueryContext(ctx, "SELECT part, next, topic_id FROM weir_offsets WHERE sink = ?", sink)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var part int32
		var at int64
		var id string
		if err := rows.Scan(&part, &at, &id); err != nil {
			return err
		}
		fn(part, at, id)
	}
	return rows.Err()
}

func (s *sqliteSnapshot) rows(ctx context.Context, of DatabaseConfig, fn func(text string, in rowPlace) error) error {
	var names []string
	for _, c := range of.Columns {
		names = append(names, quoteSQLite(c.Field))
	}
	rows, err := s.tx.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s", strings.Join(names, ", "), quoteSQLite(of.Table)))
	if err != nil {
		return err
	}
	defer rows.Close()
	values, at := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		at[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(at...); err != nil {
			return err
		}
		fields := make(map[string]any)
		for i, c := range of.Columns {
			if fields[c.Field], err = c.Type.fromSQLite(values[i]); err != nil {
				return fmt.Errorf("column %s: %w", c.Field, err)
			}
		}
		text, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		if err := fn(string(text), rowPlace{}); err != nil {
			return err
		}
	}
	return rows.Err()
}

// fromSQLite returns a value as the topic writes it.
func (t ValueType) fromSQLite(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil //nolint:nilnil // NULL
	case int64:
		if t.Kind == BooleanValue && (v == 0 || v == 1) {
			return v == 1, nil
		}
		return json.Number(strconv.FormatInt(v, 10)), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case []byte:
		return base64.StdEncoding.EncodeToString(v), nil
	case string:
		switch t.Kind {
		case NumberValue:
			return json.Number(v), nil
		case ArrayValue, JSONValue:
			return json.RawMessage(v), nil
		}
		return v, nil
	}
	return nil, fmt.Errorf("%v is a %[1]T", v)
}

func quoteSQLite(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
