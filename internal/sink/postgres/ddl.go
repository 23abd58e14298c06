package postgres

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sql"
)

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// reserved are keywords that can't be names of columns without quotes.
var reserved = strings.Fields(`all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column
	concurrently constraint create cross current_catalog current_date current_role current_schema current_time current_timestamp current_user default
	deferrable desc distinct do else end except false fetch for foreign freeze from full grant group having ilike in initially inner intersect into is
	isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary
	references returning right select session_user similar some symmetric system_user table tablesample then to trailing true union unique user using
	variadic verbose when where window with`)

// identifier writes the name of a column as SQL: like Flink, without quotes where that is possible,
// which makes it lower case.
func identifier(name string) string {
	lower := strings.ToLower(name)
	if plainName.MatchString(lower) && !slices.Contains(reserved, lower) {
		return lower
	}
	return pgx.Identifier{lower}.Sanitize()
}

// CreateTable returns the statement that creates the table of the database.
func CreateTable(t *plan.Table, j *plan.JDBC) string {
	return sink.CreateTable(t, j.Table, identifier, typeOf)
}

// CreateOffsets returns the statement that creates the table of the offsets.
func CreateOffsets() string { return offsetsTable }

// CreateHypertable returns the statement of TimescaleDB that makes a new table a hypertable, split
// by the times in a column.
func CreateHypertable(t *plan.Table, j *plan.JDBC, name string) (string, error) {
	i := slices.IndexFunc(t.Columns, func(c plan.TableColumn) bool { return c.Name == name })
	if i < 0 {
		return "", fmt.Errorf("table %s has no column %s", t.Name, name)
	}
	switch t.Columns[i].Type.Kind {
	case column.Timestamp, column.TimestampLTZ, column.Date:
	default:
		return "", fmt.Errorf("table %s can't be a hypertable by column %s of type %s: choose one of TIMESTAMP, TIMESTAMP_LTZ or DATE", t.Name, name, t.Columns[i].Type)
	}
	if len(t.PrimaryKey) > 0 && !slices.Contains(t.PrimaryKey, i) {
		return "", fmt.Errorf("table %s can't be a hypertable by column %s, because its PRIMARY KEY does not have it, as TimescaleDB requires: add it to the key", t.Name, name)
	}
	return fmt.Sprintf("SELECT create_hypertable(%s, %s);", sql.QuoteString(j.Table), sql.QuoteString(strings.ToLower(name))), nil
}
