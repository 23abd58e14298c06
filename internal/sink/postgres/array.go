package postgres

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// unnest has no arrays of arrays, so an array that is one value among many is sent as text.

var escapeElement = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// arrayText returns an array as PostgreSQL's input of arrays: {1,NULL,"a"}.
func (e *encoder) arrayText(values []any) (string, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		if v == nil {
			b.WriteString("NULL")
			continue
		}
		text, err := e.elementText(v)
		if err != nil {
			return "", err
		}
		b.WriteString(`"` + escapeElement.Replace(text) + `"`)
	}
	b.WriteByte('}')
	return b.String(), nil
}

func (e *encoder) elementText(v any) (string, error) {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		switch e.pgType {
		case pgBool:
			return strconv.FormatBool(v != 0), nil
		case pgDate:
			return dateText(v), nil
		case pgTime:
			return moment.FormatTimestamp(v*1000, ' ')[len("1970-01-01 "):], nil
		case pgTimestamp:
			return timestampText(v, ""), nil
		case pgTimestampTZ:
			return timestampText(v, "Z"), nil
		}
		return strconv.FormatInt(v, 10), nil
	case float64:
		bits := 64
		if e.pgType == pgFloat4 {
			bits = 32
		}
		return strconv.FormatFloat(v, 'g', -1, bits), nil
	case string:
		if e.pgType == pgBytea {
			return `\x` + hex.EncodeToString([]byte(v)), nil
		}
		return v, nil
	case *big.Int:
		return column.DecimalText(v, e.typ.Elem.Scale), nil
	}
	return "", fmt.Errorf("an element of an array is a %T", v)
}

// dateText writes a date as PostgreSQL reads it: years before 1 are BC.
func dateText(days int64) string {
	year, month, day := moment.Date(days)
	if year <= 0 {
		return fmt.Sprintf("%04d-%02d-%02d BC", 1-year, month, day)
	}
	return fmt.Sprintf("%04d-%02d-%02d", year, month, day)
}

func timestampText(us int64, zone string) string {
	const day = 86_400_000_000
	days, rest := moment.FloorDiv(us, day), moment.FloorMod(us, day)
	date, era, _ := strings.Cut(dateText(days), " ")
	if era != "" {
		era = " " + era
	}
	return fmt.Sprintf("%s %02d:%02d:%02d.%06d%s%s", date, rest/3_600_000_000, rest/60_000_000%60, rest/1_000_000%60, rest%1_000_000, zone, era)
}
