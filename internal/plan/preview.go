package plan

import (
	"fmt"

	"weir.example/weir/internal/format"
	"weir.example/weir/internal/sql"
)

// PreviewTopic is where Preview lets the rows of a query on its own go. Nobody writes to it.
const PreviewTopic = "weir.preview"

// Preview plans a text like Compile, to look at and not to run: its last statement may be a query
// on its own, whose rows go as JSON to PreviewTopic. A query whose rows replace each other has its
// key as the topic's.
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

// look sends the rows of a query to a table that is made for them.
func (p *planner) look(q *sql.Query) error {
	r, err := p.queryToWrite(q)
	if err != nil {
		return err
	}
	t := &Table{Pos: q.Pos, Name: "preview", Topic: PreviewTopic, Rowtime: -1, Upsert: r.Updating, Value: Format{Name: "json", Options: iso8601()}}
	insert := &Insert{Table: t}
	seen := make(map[string]int)
	for i, c := range r.Cols {
		name := c.Name
		if seen[c.Name]++; seen[c.Name] > 1 {
			name = fmt.Sprintf("%s_%d", c.Name, seen[c.Name])
		}
		t.Columns = append(t.Columns, TableColumn{Name: name, Type: c.Type.Nullable(true)})
		t.Value.Columns = append(t.Value.Columns, i)
		t.Value.Fields = append(t.Value.Fields, format.Field{Name: name, Type: c.Type.Nullable(true)})
		insert.Columns = append(insert.Columns, i)
	}
	if r.Updating {
		if r.Key == nil {
			return sql.Errorf(q, "the query updates its rows, but does not select their key").
				WithHint("select the columns of GROUP BY or PARTITION BY, and the row number of a Top-N")
		}
		t.Key = Format{Name: "json", Options: iso8601()}
		for _, c := range r.Key {
			t.PrimaryKey = append(t.PrimaryKey, c)
			t.Key.Columns = append(t.Key.Columns, c)
			t.Key.Fields = append(t.Key.Fields, t.Value.Fields[c])
		}
	}
	if err := format.Check("json", t.Value.Fields, t.Value.Options); err != nil {
		return sql.Errorf(q, "the rows can't be shown as JSON: %s", err)
	}
	p.program.Tables = append(p.program.Tables, t)
	cols := make([]Column, len(r.Cols))
	for i, c := range r.Cols {
		c.Type = c.Type.Nullable(true)
		cols[i] = c
	}
	p.program.Sinks = append(p.program.Sinks, p.relation(insert, nil, p.castTo(q, r, cols)))
	return nil
}

func iso8601() format.Options { return format.Options{"timestamp-format.standard": "ISO-8601"} }
