package postgres

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"

	"weir.example/weir/internal/column"
)

// pgType is a type of PostgreSQL in which values are sent.
type pgType struct {
	name       string
	oid, array uint32 // of the type, and of its arrays
}

var (
	pgBool        = pgType{"boolean", pgtype.BoolOID, pgtype.BoolArrayOID}
	pgInt2        = pgType{"smallint", pgtype.Int2OID, pgtype.Int2ArrayOID}
	pgInt4        = pgType{"integer", pgtype.Int4OID, pgtype.Int4ArrayOID}
	pgInt8        = pgType{"bigint", pgtype.Int8OID, pgtype.Int8ArrayOID}
	pgFloat4      = pgType{"real", pgtype.Float4OID, pgtype.Float4ArrayOID}
	pgFloat8      = pgType{"double precision", pgtype.Float8OID, pgtype.Float8ArrayOID}
	pgNumeric     = pgType{"numeric", pgtype.NumericOID, pgtype.NumericArrayOID}
	pgText        = pgType{"text", pgtype.TextOID, pgtype.TextArrayOID}
	pgVarchar     = pgType{"character varying", pgtype.VarcharOID, pgtype.VarcharArrayOID}
	pgChar        = pgType{"character", pgtype.BPCharOID, pgtype.BPCharArrayOID}
	pgBytea       = pgType{"bytea", pgtype.ByteaOID, pgtype.ByteaArrayOID}
	pgDate        = pgType{"date", pgtype.DateOID, pgtype.DateArrayOID}
	pgTime        = pgType{"time without time zone", pgtype.TimeOID, pgtype.TimeArrayOID}
	pgTimestamp   = pgType{"timestamp without time zone", pgtype.TimestampOID, pgtype.TimestampArrayOID}
	pgTimestampTZ = pgType{"timestamp with time zone", pgtype.TimestamptzOID, pgtype.TimestamptzArrayOID}
	pgJSONB       = pgType{"jsonb", pgtype.JSONBOID, pgtype.JSONBArrayOID}
)

// scalars lists the types in which values of a kind can be stored unchanged, the usual one first.
var scalars = map[column.Kind][]pgType{
	column.Boolean: {pgBool}, column.TinyInt: {pgInt2, pgInt4, pgInt8, pgNumeric}, column.SmallInt: {pgInt2, pgInt4, pgInt8, pgNumeric},
	column.Int: {pgInt4, pgInt8, pgNumeric}, column.BigInt: {pgInt8, pgNumeric}, column.Float: {pgFloat4, pgFloat8}, column.Double: {pgFloat8},
	column.Decimal: {pgNumeric}, column.String: {pgText, pgVarchar}, column.Bytes: {pgBytea}, column.Date: {pgDate}, column.Time: {pgTime},
	column.Timestamp: {pgTimestamp}, column.TimestampLTZ: {pgTimestampTZ},
}

// stored is how a column is stored: as a value, as an array of them, or as JSON.
type stored struct {
	pgType
	isArray, isJSON bool
	limit           int // characters of a varchar; 0 is no limit
}

// typeOf returns the type of a column in CREATE TABLE.
func typeOf(t column.Type) string {
	if t.Kind == column.Array && scalars[t.Elem.Kind] != nil {
		return typeOf(*t.Elem) + "[]"
	}
	switch t.Kind {
	case column.Array, column.Multiset, column.Map, column.Row:
		return pgJSONB.name
	case column.Decimal:
		return fmt.Sprintf("numeric(%d, %d)", t.Precision, t.Scale)
	case column.String:
		switch {
		case t.Fixed && t.Length > 0:
			return fmt.Sprintf("character(%d)", t.Length)
		case t.Length > 0:
			return fmt.Sprintf("character varying(%d)", t.Length)
		}
	case column.Time:
		return fmt.Sprintf("time(%d) without time zone", min(t.Precision, 3))
	case column.Timestamp:
		return fmt.Sprintf("timestamp(%d) without time zone", min(t.Precision, 6))
	case column.TimestampLTZ:
		return fmt.Sprintf("timestamp(%d) with time zone", min(t.Precision, 6))
	}
	return scalars[t.Kind][0].name
}

// fit returns how values of t are stored in a column of the database with this type and modifier.
func fit(t column.Type, oid uint32, mod int32) (stored, bool) {
	if t.Kind == column.Array && scalars[t.Elem.Kind] != nil {
		for _, p := range candidates(*t.Elem) {
			if p.array == oid && holds(*t.Elem, p, mod) {
				return stored{pgType: p, isArray: true, limit: limitOf(p, mod)}, true
			}
		}
		return stored{}, false
	}
	switch t.Kind {
	case column.Array, column.Multiset, column.Map, column.Row:
		return stored{pgType: pgJSONB, isJSON: true}, oid == pgJSONB.oid
	}
	for _, p := range candidates(t) {
		if p.oid == oid && holds(t, p, mod) {
			return stored{pgType: p, limit: limitOf(p, mod)}, true
		}
	}
	return stored{}, false
}

func candidates(t column.Type) []pgType {
	if t.Kind == column.String && t.Fixed {
		return []pgType{pgChar, pgText, pgVarchar}
	}
	return scalars[t.Kind]
}

// limitOf returns the length of a varchar(n). The server would cut longer values that end with
// spaces.
func limitOf(p pgType, mod int32) int {
	if p == pgVarchar && mod >= 4 {
		return int(mod) - 4
	}
	return 0
}

// holds reports whether no value is rounded or padded in a type with this modifier, -1 for none.
func holds(t column.Type, p pgType, mod int32) bool {
	if mod < 0 {
		return p != pgChar
	}
	switch p {
	case pgNumeric:
		scale := int((mod-4)&0x7ff) ^ 0x400 // 11 bits, signed
		return t.Kind != column.Decimal && scale-0x400 >= 0 || t.Kind == column.Decimal && scale-0x400 >= t.Scale
	case pgTime:
		return int(mod) >= min(t.Precision, 3)
	case pgTimestamp, pgTimestampTZ:
		return int(mod) >= min(t.Precision, 6)
	case pgChar:
		return int(mod)-4 == t.Length
	}
	return true
}
