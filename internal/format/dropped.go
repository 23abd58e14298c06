package format

import (
	"fmt"

	"weir.example/weir/internal/column"
)

// Dropped counts data dropped without an error because of format options.
type Dropped struct {
	Records int64 // json.ignore-parse-errors: documents skipped, as a whole or from the first error on
	Values  int64 // json.ignore-parse-errors: fields and elements replaced by NULL
	Entries int64 // json.map-null-key.mode = DROP: map entries dropped
}

// Dropper is a Decoder or Encoder with options that drop data.
type Dropper interface {
	// Dropped returns the counts so far. The caller may reset them.
	Dropped() *Dropped
}

// tolerance is what a decoder with ignore-parse-errors does about errors.
type tolerance struct {
	ignore  bool // ignore-parse-errors
	dropped Dropped
}

func toleranceOf(o Options) tolerance { return tolerance{ignore: o.bool("ignore-parse-errors")} }

// Dropped implements Dropper.
func (t *tolerance) Dropped() *Dropped { return &t.dropped }

// reject returns the error of a document that can't be decoded.
func (t *tolerance) reject(err error) error {
	if !t.ignore {
		return err
	}
	t.dropped.Records++
	return ErrSkip
}

// rejectField sets field i, which can't be decoded, to NULL. Without ignore-parse-errors, it undoes
// the fields before it and returns the error.
func (t *tolerance) rejectField(fields []Field, cols []*column.Column, i int, err error) error {
	if t.ignore {
		cols[i].AddNull()
		t.dropped.Values++
		return nil
	}
	for _, done := range cols[:i] {
		if done != nil {
			done.Truncate(done.Len() - 1)
		}
	}
	return fmt.Errorf("field %s: %w", fields[i].Name, err)
}

// Splitter is a Decoder whose documents may contain several rows.
type Splitter interface {
	// Split returns the documents of the individual rows in order, or false if data is itself the
	// document of a single row. The error reports that data is malformed; with ignore-parse-errors,
	// Split returns the rows before the error instead.
	Split(data []byte) (rows [][]byte, ok bool, err error)
}
