package files

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
)

// csvFiles writes values as the format json does, without a header, as Flink. NULL is nothing
// between the commas, and an empty string, or BYTES of length 0, is a pair of quotes.
func csvFiles(fields []format.Field) (func(io.Writer, metadata) (encoder, error), error) {
	c := csvLine{fields: fields, texts: make([]format.Encoder, len(fields))}
	for i, f := range fields {
		one := []format.Field{{Name: "", Type: f.Type}}
		e, err := format.NewEncoder("json", one, format.Options{"encode.decimal-as-plain-number": "true"}, nil)
		if err != nil {
			return nil, err
		}
		c.texts[i] = e
	}
	return func(w io.Writer, _ metadata) (encoder, error) { return &lines{w: w, encode: c.encode}, nil }, nil
}

var errOnlyNull = errors.New("the only column is NULL, and readers of csv skip empty lines")

type csvLine struct {
	fields []format.Field
	texts  []format.Encoder // of one value each
}

func (c csvLine) encode(dst []byte, cols []*column.Column, row int) ([]byte, error) {
	for i, col := range cols {
		if i > 0 {
			dst = append(dst, ',')
		}
		if col.Null[row] {
			if len(cols) == 1 {
				return dst, errOnlyNull
			}
			continue
		}
		if col.Type.Kind == column.String {
			dst = appendQuoted(dst, col.S[row])
			continue
		}
		text, err := c.texts[i].Encode(nil, cols[i:i+1], row)
		if err != nil {
			return dst, err
		}
		text = bytes.TrimSuffix(bytes.TrimPrefix(text, []byte(`{"":`)), []byte("}"))
		if text = bytes.Trim(text, `"`); len(text) == 0 { // such text has no escapes
			text = []byte(`""`) // BYTES of length 0, not NULL
		}
		dst = append(dst, text...)
	}
	return dst, nil
}

// appendQuoted appends a string, in quotes if it would be read in another way without them.
func appendQuoted(dst []byte, s string) []byte {
	if s != "" && !strings.ContainsAny(s, ",\"\r\n#\\'") && s[0] > ' ' && s[len(s)-1] > ' ' {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(s, `"`, `""`)...)
	return append(dst, '"')
}
