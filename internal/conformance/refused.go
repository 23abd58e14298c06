package conformance

import (
	"context"
	"errors"
	"strings"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sql"
)

// refusedByWeir returns the error with which Weir rejects statements, or "".
func refusedByWeir(text string) string {
	_, err := plan.Compile(text, "refused")
	var at *sql.Error
	if errors.As(err, &at) {
		return at.Message
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// refusedByFlink returns the error with which Flink rejects a statement, or "". An INSERT is
// translated to a job that is not run.
func (s *session) refusedByFlink(ctx context.Context, statement string) (string, error) {
	statement = strings.TrimSuffix(strings.TrimSpace(statement), ";")
	if strings.HasPrefix(statement, "INSERT") {
		statement = "EXPLAIN JSON_EXECUTION_PLAN " + statement
	}
	_, err := s.execute(ctx, statement)
	var refused *flinkError
	if errors.As(err, &refused) {
		return refused.Error(), nil
	}
	return "", err
}
