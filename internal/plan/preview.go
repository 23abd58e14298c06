package plan

import (
	"fmt"

	"weir.example/weir/internal/format"
	"weir.example/weir/internal/sql"
)

// PreviewTopic is the sink topic of a previewed query. Nothing is ever written to it.
const PreviewTopic = "weir.preview"

// Preview plans a text like Compile, for a dry run: its last statement may be a bare query, whose
// rows are encoded as JSON for PreviewTopic. The rows of an updating query are keyed by its key.
func Preview(text, name string) (*Program, error) {
	script, err := sql.ParsePreview(text)
	if err != nil {
		return nil, err
	}
	p := newPlanner(name, text)
	if err := p.statements(script); err != nil {
		return nil, err
	}
	if script.Query != nil {
		if err := p.look(script.Query); err != nil {
			return nil, err
		}
	}
	return p.finish()
}

// look adds a sink table for the rows of a query.
func (p *planner) look(q *sql.Query) error {
	r, err := p.queryToWrite(q)
	if err != nil {
		return err
	}
	t := &Table{Pos: q.Pos, Name: "preview", Rowtime: -1, Upsert: r.Updating, Kafka: &Kafka{Topic: PreviewTopic, Value: Format{Name: "json", Options: iso8601()}}}
	insert := &Insert{Table: t}
	seen := make(map[string]int)
	for i, c := range r.Cols {
		name := c.Name
		if seen[c.Name]++; seen[c.Name] > 1 {
			name = fmt.Sprintf("%s_%d", c.Name, seen[c.Name])
		}
		t.Columns = append(t.Columns, TableColumn{Name: name, Type: c.Type.Nullable(true)})
		t.Kafka.Value.Columns = append(t.Kafka.Value.Columns, i)
		t.Kafka.Value.Fields = append(t.Kafka.Value.Fields, format.Field{Name: name, Type: c.Type.Nullable(true)})
		insert.Columns = append(insert.Columns, i)
	}
	if r.Updating {
		key := r.Key
		if key == nil && r.Multiset { // equal rows are shown once
			for c := range r.Cols {
				key = append(key, c)
			}
		}
		if key == nil {
			return sql.Errorf(q, "the query updates its rows, but does not select their key").
				WithHint("select the columns of GROUP BY, of PARTITION BY or of the upsert table's primary key, and the row number of a Top-N")
		}
		t.Kafka.Key = Format{Name: "json", Options: iso8601()}
		for _, c := range key {
			t.PrimaryKey = append(t.PrimaryKey, c)
			t.Kafka.Key.Columns = append(t.Kafka.Key.Columns, c)
			t.Kafka.Key.Fields = append(t.Kafka.Key.Fields, t.Kafka.Value.Fields[c])
		}
	}
	if err := format.Check("json", t.Kafka.Value.Fields, t.Kafka.Value.Options); err != nil {
		return sql.Errorf(q, "the rows can't be shown as JSON: %s", err)
	}
	p.program.Tables = append(p.program.Tables, t)
	cols := make([]Column, len(r.Cols))
	for i, c := range r.Cols {
		c.Type = c.Type.Nullable(true)
		cols[i] = c
	}
	if r = p.castTo(q, r, cols); r.Updating && r.Multiset {
		r = p.materialize(r, t.PrimaryKey)
	}
	p.program.Sinks = append(p.program.Sinks, p.relation(insert, nil, r))
	return nil
}

func iso8601() format.Options { return format.Options{"timestamp-format.standard": "ISO-8601"} }
