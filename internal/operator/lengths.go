package operator

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// sized is a column of a table whose declared length the writer checks or enforces.
type sized struct {
	column int // of the table
	t      column.Type
	trim   bool // truncate or pad; otherwise a different length is an error
}

// size registers a column if its length matters. Most don't: a value that an INSERT casts already
// has its length, and a value written without a cast is unchanged, unless
// table.exec.sink.type-length-enforcer requires otherwise.
func (w *writer) size(col int, t column.Type) {
	switch {
	case t.Length == 0 || t.Kind != column.String && t.Kind != column.Bytes:
	case slices.Contains(w.op.Exact, col):
		w.sized = append(w.sized, sized{col, t, false})
	case w.op.Sink.Lengths != plan.LengthIgnore:
		w.sized = append(w.sized, sized{col, t, w.op.Sink.Lengths == plan.LengthTrim})
	}
}

// resized returns the rows with values truncated or padded to the lengths of their columns, where
// that is configured.
func (w *writer) resized(r *rowBatch) *rowBatch {
	var own *rowBatch
	for _, s := range w.sized {
		if !s.trim {
			continue
		}
		if own == nil { // the input's columns may be shared
			copied, batch := *r, *r.Batch
			batch.Cols = slices.Clone(r.Cols)
			copied.Batch, own = &batch, &copied
		}
		from := w.op.Columns[s.column]
		to := &column.Column{Type: r.Cols[from].Type}
		for i := range r.N {
			if r.Cols[from].Null[i] {
				to.AddNull()
				continue
			}
			v := r.Cols[from].S[i]
			if n := s.length(v); !s.takes(n) {
				v = s.fit(v, n)
			}
			to.AddText(v)
		}
		own.Cols[from] = to
	}
	if own == nil {
		return r
	}
	return own
}

// wrongLength returns an error if a value of a row has a length that its column does not accept.
func (w *writer) wrongLength(r *rowBatch, i int) error {
	for _, s := range w.sized {
		c := r.Cols[w.op.Columns[s.column]]
		if s.trim || c.Null[i] {
			continue
		}
		if n := s.length(c.S[i]); !s.takes(n) {
			unit := map[column.Kind]string{column.String: "characters", column.Bytes: "bytes"}[s.t.Kind]
			return fmt.Errorf("column %s is %s, but the value has %d %s", w.table.Columns[s.column].Name, s.t.Nullable(true), n, unit)
		}
	}
	return nil
}

// takes reports whether a length is valid for the type.
func (s *sized) takes(n int) bool { return n == s.t.Length || n < s.t.Length && !s.t.Fixed }

// length counts the characters of a string, or the bytes of bytes.
func (s *sized) length(v string) int {
	if s.t.Kind == column.String {
		return utf8.RuneCountInString(v)
	}
	return len(v)
}

// fit truncates or pads a value of n characters or bytes: strings with spaces, bytes with zeros.
func (s *sized) fit(v string, n int) string {
	switch {
	case n < s.t.Length && s.t.Kind == column.String:
		return v + strings.Repeat(" ", s.t.Length-n)
	case n < s.t.Length:
		return v + strings.Repeat("\x00", s.t.Length-n)
	case s.t.Kind == column.String:
		return string([]rune(v)[:s.t.Length])
	}
	return v[:s.t.Length]
}
