package sqlite

import (
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
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
	return sink.CreateTable(t, quote(at.Table), quote, typeOf)
}

// CreateOffsets returns the statement that creates the table of the offsets.
func CreateOffsets() string { return offsetsTable }
