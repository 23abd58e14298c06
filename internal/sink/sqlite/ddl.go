package sqlite

import (
	"fmt"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// typeOf returns the type of a column in CREATE TABLE: the one that stores values unchanged.
// Decimals and times are texts, since SQLite has no types for them; its date functions read them.
func typeOf(t column.Type) string {
	switch {
	case t.Kind == column.Boolean, t.Integer():
		return string(integer)
	case t.Kind == column.Float, t.Kind == column.Double:
		return string(float)
	case t.Kind == column.Bytes:
		return string(blob)
	}
	return string(text)
}

// CreateTable returns the statement that creates the table of the database.
func CreateTable(t *plan.Table, at *plan.SQLite) string {
	var lines []string
	for i, f := range t.Kafka.Value.Fields {
		line := "  " + quote(f.Name) + " " + typeOf(f.Type)
		if t.Columns[t.Kafka.Value.Columns[i]].Type.NotNull {
			line += " NOT NULL"
		}
		lines = append(lines, line)
	}
	if len(t.PrimaryKey) > 0 {
		var names []string
		for _, f := range t.Kafka.Key.Fields {
			names = append(names, quote(f.Name))
		}
		lines = append(lines, fmt.Sprintf("  PRIMARY KEY (%s)", strings.Join(names, ", ")))
	}
	return fmt.Sprintf("CREATE TABLE %s (\n%s\n);", quote(at.Table), strings.Join(lines, ",\n"))
}

// CreateOffsets returns the statement that creates the table of the offsets.
func CreateOffsets() string { return offsetsTable }
