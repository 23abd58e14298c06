package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
)

// writer writes batches to a table.
type writer struct {
	conn    *pgx.Conn
	keyed   bool
	columns []*encoder // of inserted rows
	keys    []*encoder // of deleted rows

	copying, upserting, deleting string // statements

	chunk []byte   // of COPY
	array [][]byte // of a column, as a parameter
}

func newWriter(into *target, t *plan.Table, conn *pgx.Conn) (*writer, error) {
	w := &writer{conn: conn, keyed: len(into.key) > 0}
	var names, params, values, keys, sets, matches []string
	inKey := make(map[*dbColumn]bool)
	for _, c := range into.key {
		inKey[c] = true
	}
	for i, c := range into.columns {
		e, err := newEncoder(c.stored, t.Kafka.Value.Fields[i].Type, conn.TypeMap())
		if err != nil {
			return nil, err
		}
		w.columns = append(w.columns, e)
		name := pgx.Identifier{c.name}.Sanitize()
		names = append(names, name)
		params, values = append(params, e.parameter(i+1)), append(values, e.value(i+1))
		if !inKey[c] {
			sets = append(sets, name+" = EXCLUDED."+name)
		}
	}
	w.array = make([][]byte, len(w.columns))
	list := strings.Join(names, ", ")
	w.copying = fmt.Sprintf("COPY %s (%s) FROM STDIN BINARY", into.sql(), list)
	if !w.keyed {
		return w, nil
	}
	var deleteParams []string
	for i, c := range into.key {
		e, err := newEncoder(c.stored, t.Kafka.Key.Fields[i].Type, conn.TypeMap())
		if err != nil {
			return nil, err
		}
		w.keys = append(w.keys, e)
		name := pgx.Identifier{c.name}.Sanitize()
		keys = append(keys, name)
		deleteParams = append(deleteParams, e.parameter(i+1))
		matches = append(matches, fmt.Sprintf("t.%s = %s", name, e.value(i+1)))
	}
	on := "NOTHING"
	if len(sets) > 0 {
		on = "UPDATE SET " + strings.Join(sets, ", ")
	}
	w.upserting = fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM unnest(%s) AS u(%s) ON CONFLICT (%s) DO %s",
		into.sql(), list, strings.Join(values, ", "), strings.Join(params, ", "), aliases(len(params)), strings.Join(keys, ", "), on)
	w.deleting = fmt.Sprintf("DELETE FROM %s t USING unnest(%s) AS u(%s) WHERE %s", into.sql(), strings.Join(deleteParams, ", "), aliases(len(deleteParams)), strings.Join(matches, " AND "))
	return w, nil
}

func aliases(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("c%d", i+1)
	}
	return strings.Join(all, ", ")
}

// parameter is the n-th column of a batch as an array: unnest makes rows of them.
func (e *encoder) parameter(n int) string {
	elem := e.name
	if e.isArray {
		elem = pgText.name
	}
	if e.pgType == pgChar || e.pgType == pgVarchar {
		elem = pgText.name
	}
	return fmt.Sprintf("$%d::%s[]", n, elem)
}

// value is the value of the n-th column of a row.
func (e *encoder) value(n int) string {
	if e.isArray {
		return fmt.Sprintf("u.c%d::%s[]", n, e.name)
	}
	return fmt.Sprintf("u.c%d", n)
}

// arrayType returns the types of a parameter: of the array, and of its elements.
func (e *encoder) arrayType() (array, elem uint32) {
	if e.isArray || e.pgType == pgChar || e.pgType == pgVarchar {
		return pgText.array, pgText.oid
	}
	return e.array, e.oid
}

// prepared are the rows of a batch that can be sent, and those that can't.
type prepared struct {
	rows    []int
	refused []sink.Refusal
}

// prepare checks what the server would cut silently: a varchar(n) loses spaces at its end.
func (w *writer) prepare(b *sink.Batch) *prepared {
	p := &prepared{rows: make([]int, 0, b.Rows.N)}
	for row := range b.Rows.N {
		if err := w.check(b.Rows.Cols, row); err != nil {
			p.refused = append(p.refused, sink.Refusal{Origin: b.Origins[row], Err: err})
			continue
		}
		p.rows = append(p.rows, row)
	}
	return p
}

func (w *writer) check(cols []*column.Column, row int) error {
	for i, e := range w.columns {
		if e.limit == 0 || cols[i].Null[row] {
			continue
		}
		values := []any{cols[i].Value(row)}
		if e.isArray {
			values, _ = values[0].([]any)
		}
		for _, v := range values {
			if s, ok := v.(string); ok && utf8.RuneCountInString(s) > e.limit {
				return fmt.Errorf("refused: a value of column %d has more characters than %s(%d)", i+1, e.name, e.limit)
			}
		}
	}
	return nil
}

// insert writes rows of a batch.
func (w *writer) insert(ctx context.Context, b *sink.Batch, rows []int) error {
	if len(rows) == 0 {
		return nil
	}
	if !w.keyed {
		return w.copy(ctx, b, rows)
	}
	return w.execute(ctx, w.upserting, w.columns, b.Rows.Cols, rows)
}

// delete deletes rows by their keys.
func (w *writer) delete(ctx context.Context, b *sink.Batch, from, to int) error {
	if from == to {
		return nil
	}
	rows := make([]int, 0, to-from)
	for row := from; row < to; row++ {
		rows = append(rows, row)
	}
	return w.execute(ctx, w.deleting, w.keys, b.Deleted.Cols, rows)
}

// execute runs a statement with an array for each column.
func (w *writer) execute(ctx context.Context, statement string, columns []*encoder, cols []*column.Column, rows []int) error {
	values, oids, formats := w.array[:len(columns)], make([]uint32, len(columns)), make([]int16, len(columns))
	for i, e := range columns {
		array, elem := e.arrayType()
		dst := appendArrayHeader(values[i][:0], elem, len(rows))
		for _, row := range rows {
			var err error
			if dst, err = e.appendParameter(dst, cols[i], row); err != nil {
				return fmt.Errorf("encode column %d: %w", i+1, err)
			}
		}
		values[i], oids[i], formats[i] = dst, array, pgtype.BinaryFormatCode
	}
	_, err := w.conn.PgConn().ExecParams(ctx, statement, values, oids, formats, nil).Close()
	return explain(err, "write rows")
}

func (e *encoder) appendParameter(dst []byte, c *column.Column, row int) ([]byte, error) {
	if !e.isArray || c.Null[row] {
		return e.append(dst, c, row)
	}
	values, _ := c.Value(row).([]any)
	text, err := e.arrayText(values)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text))) //nolint:gosec // records are smaller
	return append(dst, text...), err
}

// copyHeader begins the binary format of COPY: a signature, no flags, no extension.
const copyHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// copy appends rows with COPY.
func (w *writer) copy(ctx context.Context, b *sink.Batch, rows []int) error {
	encoded := &copyReader{columns: w.columns, cols: b.Rows.Cols, rows: rows, chunk: append(w.chunk[:0], copyHeader...)}
	tag, err := w.conn.PgConn().CopyFrom(ctx, encoded, w.copying)
	w.chunk = encoded.chunk
	if encoded.err != nil {
		return encoded.err
	}
	if err != nil {
		return explain(err, "write rows")
	}
	if n := tag.RowsAffected(); int(n) != len(rows) { // a rule or a trigger of the table
		return sink.Refuse("the database took %d of %d rows: a trigger of the table drops the others", n, len(rows))
	}
	return nil
}

// copyReader encodes rows as COPY has them while they are sent, so that the server stores the first
// ones meanwhile.
type copyReader struct {
	columns []*encoder
	cols    []*column.Column
	rows    []int // that are left
	chunk   []byte
	sent    int // of the chunk
	ended   bool
	err     error // of a row
}

// Read implements io.Reader.
func (r *copyReader) Read(p []byte) (int, error) {
	if left := r.chunk[r.sent:]; len(left) < len(p) && !r.ended {
		r.chunk, r.sent = append(r.chunk[:0], left...), 0
		if r.err = r.fill(len(p)); r.err != nil {
			return 0, r.err
		}
	}
	if r.sent == len(r.chunk) {
		return 0, io.EOF
	}
	n := copy(p, r.chunk[r.sent:])
	r.sent += n
	return n, nil
}

// fill appends rows until the chunk has a size, and the end after the last row.
func (r *copyReader) fill(size int) (err error) {
	for len(r.chunk) < size && len(r.rows) > 0 {
		r.chunk = binary.BigEndian.AppendUint16(r.chunk, uint16(len(r.columns))) //nolint:gosec // at most 1,600
		for i, e := range r.columns {
			if r.chunk, err = e.append(r.chunk, r.cols[i], r.rows[0]); err != nil {
				return fmt.Errorf("encode column %d: %w", i+1, err)
			}
		}
		r.rows = r.rows[1:]
	}
	if len(r.rows) == 0 {
		r.chunk = binary.BigEndian.AppendUint16(r.chunk, 0xffff)
		r.ended = true
	}
	return nil
}
