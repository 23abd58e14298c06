package dryrun

import (
	"errors"
	"fmt"
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// lookups answers lookup joins from rows in memory. It implements operator.Lookups.
type lookups struct {
	tables map[string]*column.Batch // by name, with a column for each of the table
}

var errNoRows = errors.New("no rows are given for it: a dry run does not connect to the database. In a test, write its rows below a line “table NAME”")

// SetTable gives a table in which lookup joins read its rows, as JSON, once all tasks have caught
// up with what was sent before. A column that a row lacks is NULL.
func (s *Simulation) SetTable(name string, rows []string) error {
	at := slices.IndexFunc(s.program.Tables, func(t *plan.Table) bool { return t.Name == name })
	if at < 0 {
		return fmt.Errorf("the pipeline has no table %s", name)
	}
	t := s.program.Tables[at]
	if !slices.ContainsFunc(s.program.Lookups(), func(r *plan.Relation) bool { return r.Op.(*plan.LookupJoin).Table.Name == name }) { //nolint:forcetypeassert // see Lookups
		return fmt.Errorf("no lookup join reads table %s: send its rows", name)
	}
	if err := s.Settle(); err != nil {
		return err
	}
	all := &column.Batch{}
	for _, c := range t.Columns {
		all.Cols = append(all.Cols, &column.Column{Type: c.Type})
	}
	decoder, err := format.NewDecoder("json", t.Kafka.Value.Fields, format.Options{"timestamp-format.standard": "SQL"}, nil)
	if err != nil {
		return err
	}
	into := make([]*column.Column, len(t.Kafka.Value.Columns))
	for i, c := range t.Kafka.Value.Columns {
		into[i] = all.Cols[c]
	}
	for i, row := range rows {
		if err := decoder.Decode([]byte(row), into); err != nil {
			return fmt.Errorf("row %d: %w", i+1, err)
		}
		all.N++
		for c, col := range all.Cols {
			if t.Columns[c].Type.NotNull && col.Null[all.N-1] {
				return fmt.Errorf("row %d: column %s is NOT NULL", i+1, t.Columns[c].Name)
			}
		}
	}
	if s.lookups.tables == nil {
		s.lookups.tables = make(map[string]*column.Batch)
	}
	s.lookups.tables[name] = all
	return nil
}

// Find implements operator.Lookups.
func (l *lookups) Find(r *plan.Relation, keys []operator.LookupKey) ([][]operator.LookupRow, error) {
	j := r.Op.(*plan.LookupJoin) //nolint:forcetypeassert // by contract
	rows := l.tables[j.Table.Name]
	if rows == nil {
		return nil, &operator.LookupError{Table: j.Table.Name, Err: errNoRows}
	}
	columns := j.Columns(r)
	found := make([][]operator.LookupRow, len(keys))
	for i, k := range keys {
		for row := range rows.N {
			if !matches(rows, j.Keys, row, k.Values) {
				continue
			}
			values := make([]any, len(columns))
			for c, column := range columns {
				values[c] = rows.Cols[column].Value(row)
			}
			found[i] = append(found[i], operator.LookupRow{Values: values})
		}
	}
	return found, nil
}

func matches(rows *column.Batch, columns []int, row int, key []any) bool {
	for i, c := range columns {
		if v := rows.Cols[c].Value(row); v == nil || !column.EqualBoxed(v, key[i]) {
			return false
		}
	}
	return true
}
