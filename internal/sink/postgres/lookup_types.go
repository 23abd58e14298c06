package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"weir.example/weir/internal/column"
)

var pgUUID = pgType{"uuid", pgtype.UUIDOID, pgtype.UUIDArrayOID}

// readable reports whether a type of SQL holds every value of a column of the database, apart from
// values that decode refuses one by one: NaN and infinity, numbers of a numeric without precision,
// and times finer than milliseconds.
func readable(t column.Type, oid uint32, mod int32) bool {
	switch t.Kind {
	case column.Boolean:
		return oid == pgBool.oid
	case column.TinyInt, column.SmallInt:
		return oid == pgInt2.oid
	case column.Int:
		return oid == pgInt2.oid || oid == pgInt4.oid
	case column.BigInt:
		return oid == pgInt2.oid || oid == pgInt4.oid || oid == pgInt8.oid
	case column.Float:
		return oid == pgFloat4.oid
	case column.Double:
		return oid == pgFloat4.oid || oid == pgFloat8.oid
	case column.Decimal:
		if oid != pgNumeric.oid || mod < 0 {
			return oid == pgNumeric.oid
		}
		precision, scale := numericOf(mod)
		return scale <= t.Scale && precision-scale <= t.Precision-t.Scale
	case column.String:
		return readableText(t, oid, mod)
	case column.Bytes:
		return oid == pgBytea.oid && t.Length == 0
	case column.Date:
		return oid == pgDate.oid
	case column.Time:
		return oid == pgTime.oid && int(mod) <= t.Precision
	case column.Timestamp:
		return oid == pgTimestamp.oid && precisionOf(mod) <= t.Precision
	case column.TimestampLTZ:
		return oid == pgTimestampTZ.oid && precisionOf(mod) <= t.Precision
	}
	return false
}

func readableText(t column.Type, oid uint32, mod int32) bool {
	switch {
	case t.Fixed:
		return oid == pgChar.oid && int(mod)-4 == t.Length
	case oid == pgText.oid:
		return t.Length == 0
	case oid == pgVarchar.oid:
		return t.Length == 0 || mod >= 4 && int(mod)-4 <= t.Length
	}
	return oid == pgUUID.oid && (t.Length == 0 || t.Length >= len("00000000-0000-0000-0000-000000000000"))
}

func numericOf(mod int32) (precision, scale int) {
	scale = int((mod-4)&0x7ff) ^ 0x400 // 11 bits, signed
	return int((mod-4)>>16) & 0xffff, scale - 0x400
}

// precisionOf returns the digits of the seconds of a timestamp.
func precisionOf(mod int32) int {
	if mod < 0 {
		return 6
	}
	return int(mod)
}

// advice names the type of SQL that holds every value of a column of the database.
func advice(oid uint32, mod int32) string {
	switch oid {
	case pgBool.oid:
		return "BOOLEAN"
	case pgInt2.oid:
		return "SMALLINT"
	case pgInt4.oid:
		return "INT"
	case pgInt8.oid:
		return "BIGINT"
	case pgFloat4.oid:
		return "FLOAT"
	case pgFloat8.oid:
		return "DOUBLE"
	case pgNumeric.oid:
		if mod >= 0 {
			if precision, scale := numericOf(mod); precision <= 38 && scale >= 0 && scale <= precision {
				return fmt.Sprintf("DECIMAL(%d, %d)", precision, scale)
			}
		}
		return "DECIMAL(38, 10)"
	case pgText.oid, pgVarchar.oid, pgUUID.oid:
		return "STRING"
	case pgChar.oid:
		return fmt.Sprintf("CHAR(%d)", mod-4)
	case pgBytea.oid:
		return "BYTES"
	case pgDate.oid:
		return "DATE"
	case pgTime.oid:
		return "TIME(3)"
	case pgTimestamp.oid:
		return fmt.Sprintf("TIMESTAMP(%d)", precisionOf(mod))
	case pgTimestampTZ.oid:
		return fmt.Sprintf("TIMESTAMP_LTZ(%d)", precisionOf(mod))
	}
	return "a type that the database has, too"
}

// readColumn decodes the values of a column from PostgreSQL's binary format.
type readColumn struct {
	name  string // in the database
	oid   uint32
	typ   column.Type
	types *pgtype.Map
}

var (
	errNull     = errors.New("it is NULL, but declared NOT NULL")
	errInfinite = errors.New("its value is infinite, or not in the years 1 to 9999")
)

// decode returns a value as column.Column.Add takes it.
func (c *readColumn) decode(v []byte) (any, error) {
	if v == nil {
		if c.typ.NotNull {
			return nil, errNull
		}
		return nil, nil //nolint:nilnil // NULL
	}
	switch c.oid {
	case pgBool.oid:
		return v[0] != 0, nil
	case pgInt2.oid:
		n := int64(int16(binary.BigEndian.Uint16(v))) //nolint:gosec // two's complement
		if column.Wrap(n, c.typ.Kind) != n {
			return nil, fmt.Errorf("%s does not hold %d", c.typ.Nullable(true), n)
		}
		return n, nil
	case pgInt4.oid:
		return int64(int32(binary.BigEndian.Uint32(v))), nil //nolint:gosec // two's complement
	case pgInt8.oid:
		return int64(binary.BigEndian.Uint64(v)), nil //nolint:gosec // two's complement
	case pgFloat4.oid:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(v))), nil
	case pgFloat8.oid:
		return math.Float64frombits(binary.BigEndian.Uint64(v)), nil
	case pgNumeric.oid:
		return c.decodeNumeric(v)
	case pgUUID.oid:
		return formatUUID(v), nil
	case pgText.oid, pgVarchar.oid, pgChar.oid:
		if !utf8.Valid(v) {
			return nil, errors.New("its value is not valid UTF-8")
		}
		return string(v), nil
	case pgBytea.oid:
		return string(v), nil
	case pgDate.oid:
		days := int64(int32(binary.BigEndian.Uint32(v))) + epochDays //nolint:gosec // two's complement
		return days, inYears(time.Unix(days*86_400, 0))
	case pgTime.oid:
		return c.decodeTime(int64(binary.BigEndian.Uint64(v))) //nolint:gosec // two's complement
	}
	micros := int64(binary.BigEndian.Uint64(v)) //nolint:gosec // two's complement
	if micros == math.MaxInt64 || micros == math.MinInt64 {
		return nil, errInfinite
	}
	return micros + epochMicros, inYears(time.UnixMicro(micros + epochMicros))
}

func inYears(at time.Time) error {
	if y := at.UTC().Year(); y < 1 || y > 9999 {
		return errInfinite
	}
	return nil
}

func (c *readColumn) decodeTime(micros int64) (any, error) {
	step := int64(1_000_000)
	for range c.typ.Precision {
		step /= 10
	}
	if step = max(step, 1000); micros%step != 0 || micros >= 86_400_000_000 {
		return nil, fmt.Errorf("%s does not hold %s", c.typ.Nullable(true), time.UnixMicro(micros).UTC().Format("15:04:05.000000"))
	}
	return micros / 1000, nil
}

func (c *readColumn) decodeNumeric(v []byte) (any, error) {
	var n pgtype.Numeric
	if err := c.types.Scan(pgtype.NumericOID, pgx.BinaryFormatCode, v, &n); err != nil {
		return nil, err
	}
	if n.NaN || n.InfinityModifier != pgtype.Finite {
		return nil, errors.New("its value is not a number")
	}
	unscaled, digits := new(big.Int).Set(n.Int), int(n.Exp)+c.typ.Scale
	fits := digits <= column.MaxPrecision
	switch {
	case !fits:
	case digits >= 0:
		unscaled.Mul(unscaled, column.Power10(digits))
	default:
		var rest big.Int
		unscaled.QuoRem(unscaled, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-digits)), nil), &rest)
		fits = rest.Sign() == 0
	}
	if n.Int.Sign() == 0 {
		return new(big.Int), nil
	}
	if !fits || column.FitDecimal(unscaled, c.typ) == nil {
		return nil, fmt.Errorf("%s does not hold its value", c.typ.Nullable(true))
	}
	return unscaled, nil
}
