package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"weir.example/weir/internal/sink"
)

// Classes of SQLSTATE, by what an error means:
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
var (
	// rowClasses are errors of single rows: values, constraints, check options, exceptions that
	// triggers raise.
	rowClasses = []string{"21", "22", "23", "44", "P0"}
	// refusing are errors that last until somebody changes the database or the table: syntax and
	// access rules, logins, names, features.
	refusing = []string{"42", "28", "3D", "3F", "0A"}
)

func hasClass(err error, classes []string) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	for _, class := range classes {
		if strings.HasPrefix(e.Code, class) {
			return true
		}
	}
	return false
}

// byRows reports whether a statement failed because of the rows that it writes, so that others can
// be written.
func byRows(err error) bool { return hasClass(err, rowClasses) }

// explain says what was being done when an error occurred. It is a *sink.RefusedError if trying
// again is useless; anything else, such as a lost connection, a deadlock or a full disk, is
// retried.
func explain(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf(format+": %w", append(args, detailed(err))...)
	if hasClass(err, refusing) {
		return &sink.RefusedError{Err: err}
	}
	return err
}

// detailed adds the detail that the server gives, such as the values of a violated key.
func detailed(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Detail != "" {
		return fmt.Errorf("%w: %s", err, e.Detail)
	}
	return err
}
