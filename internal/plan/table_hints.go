package plan

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/sql"
)

// tableOptions returns the options of the hints after a table's name.
func tableOptions(hints []sql.Hint) (all []sql.Option, err error) {
	for _, h := range hints {
		if err := refuseHint(h, "a table's name", "OPTIONS"); err != nil {
			return nil, err
		}
		if len(h.Options) == 0 {
			return nil, sql.Errorf(h, "the hint OPTIONS has no options").WithHint("write OPTIONS('key' = 'value')")
		}
		all = append(all, h.Options...)
	}
	return all, nil
}

// withHints returns a table with the options of a hint in place of its own. All references with
// equal hints are to the same table.
func (p *planner) withHints(name string, hints []sql.Option) (*Table, error) {
	if len(hints) == 0 {
		return p.tables[name], nil
	}
	for i, o := range hints {
		if slices.ContainsFunc(hints[:i], func(other sql.Option) bool { return other.Key == o.Key }) {
			return nil, sql.Errorf(o, "option '%s' is listed twice", o.Key)
		}
	}
	s := *p.declared[name]
	s.Options = overwrite(s.Options, hints)
	given := hintText(hints)
	for _, t := range p.variants[name] {
		if t.hints == given && t.Pos == s.Pos {
			return t, nil
		}
	}
	t, err := p.createTable(name, &s)
	if err != nil {
		return nil, err
	}
	for _, part := range append(t.parts(), t) {
		part.hints = given
	}
	p.variants[name] = append(p.variants[name], t)
	p.addTable(t)
	return t, nil
}

func hintText(hints []sql.Option) string {
	var all []string
	for _, o := range hints {
		all = append(all, fmt.Sprintf("'%s'='%s'", o.Key, o.Value))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// nameHinted gives tables that are read with different options of one topic different names: their
// watermarks are stored under them. A single one keeps its name, so that its state is found when
// the hint is removed or changed.
func (p *planner) nameHinted() {
	readers := make(map[string][]*Table) // by name and topic
	for _, t := range p.program.read() {
		at := t.Name + "\n" + t.Kafka.Topic
		if !slices.Contains(readers[at], t) {
			readers[at] = append(readers[at], t)
		}
	}
	for _, tables := range readers {
		for _, t := range tables {
			if len(tables) > 1 && t.hints != "" {
				t.Name += fmt.Sprintf("#%x", sha256.Sum256([]byte(t.hints)))[:9] // options may be secrets
			}
		}
	}
}

// refuseHints refuses hints of views, as Flink does.
func refuseHints(t *sql.TableName, name string) error {
	if len(t.Hints) == 0 {
		return nil
	}
	return sql.Errorf(t.Hints[0], "%s is no table, so it has no options", name).WithHint("write the hint OPTIONS after the table in its query")
}
