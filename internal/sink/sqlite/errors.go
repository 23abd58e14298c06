package sqlite

import (
	"errors"
	"fmt"
	"slices"

	"modernc.org/sqlite"

	"weir.example/weir/internal/sink"
)

// Result codes, by what an error means: https://www.sqlite.org/rescode.html.
const (
	codeError      = 1
	codePerm       = 3
	codeReadOnly   = 8
	codeCorrupt    = 11
	codeCantOpen   = 14
	codeTooBig     = 18
	codeConstraint = 19
	codeMismatch   = 20
	codeAuth       = 23
	codeNotADB     = 26
)

var (
	// rowCodes are errors of single rows: constraints, exceptions that triggers raise, and values.
	rowCodes = []int{codeConstraint, codeMismatch, codeTooBig}
	// refusing are errors that last until somebody changes the database, its file or the table.
	refusing = []int{codeError, codePerm, codeReadOnly, codeCorrupt, codeCantOpen, codeAuth, codeNotADB}
)

func hasCode(err error, codes []int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code()&0xff)
}

// rowError is an error of a value, which was not written.
type rowError struct{ error }

// byRow reports whether a statement failed because of the row that it writes.
func byRow(err error) bool { return errors.As(err, new(rowError)) || hasCode(err, rowCodes) }

// explain says what was being done when an error occurred. It is a *sink.RefusedError if trying
// again is useless; anything else, such as a database that another process has locked or a full
// disk, is retried.
func explain(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	refused := hasCode(err, refusing)
	err = fmt.Errorf(format+": %w", append(args, err)...)
	if refused {
		return &sink.RefusedError{Err: err}
	}
	return err
}
