package postgres

import (
	"strings"
	"testing"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/stack"
)

func TestCreateHypertable(t *testing.T) {
	_, of := table(t, &stack.Postgres{Port: 5432}, "d", "k STRING, `Window Start` TIMESTAMP_LTZ(3), n BIGINT, d DATE", "k, `Window Start`")
	j := &plan.JDBC{Table: `public."it's"`}
	for name, want := range map[string]string{
		"Window Start": `SELECT create_hypertable('public."it''s"', 'window start');`,
		"n":            "choose one of TIMESTAMP",
		"d":            "its PRIMARY KEY does not have it",
		"x":            "has no column x",
	} {
		got, err := CreateHypertable(of, j, name)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}
