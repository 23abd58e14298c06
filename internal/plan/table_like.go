package plan

import (
	"slices"

	"weir.example/weir/internal/sql"
)

// like returns a CREATE TABLE … LIKE with what it takes over from the other table written out, by
// the rules of Flink's MergeTableLikeUtil.
func (p *planner) like(s *sql.CreateTable) (*sql.CreateTable, error) {
	name, err := tableName(s.Like.Table)
	if err != nil {
		return nil, err
	}
	if p.views[name] != nil {
		return nil, sql.Errorf(s.Like.Table[0], "%s is a view", name).WithHint("LIKE takes a table; for the columns of a query, write CREATE TABLE … AS SELECT")
	}
	from := p.declared[name]
	if from == nil {
		return nil, p.notFound(s.Like.Table[0], name)
	}
	m := &likeMerger{like: s.Like, from: from, into: *s}
	m.into.Like = nil
	m.into.Columns, m.into.Options = nil, nil
	for _, step := range []func(*sql.CreateTable) error{m.columns, m.watermark, m.primaryKey, m.partitioned, m.options} {
		if err := step(s); err != nil {
			return nil, err
		}
	}
	return &m.into, nil
}

// likeMerger merges a table with the one that it is like.
type likeMerger struct {
	like *sql.TableLike
	from *sql.CreateTable
	into sql.CreateTable
}

// merging returns how a feature is merged: as listed, or else as ALL. By default, both tables'
// features are included, and options of the new table prevail.
func (m *likeMerger) merging(feature string) sql.Merging {
	merging := sql.Including
	if feature == "OPTIONS" {
		merging = sql.Overwriting
	}
	for _, wanted := range []string{"ALL", feature} {
		for _, o := range m.like.Options {
			if o.Feature == wanted {
				merging = o.Merging
			}
		}
	}
	return merging
}

// featureOf returns the feature that decides whether a column is taken over; "" for a physical
// column, which always is.
func featureOf(c sql.Column) string {
	switch {
	case c.Computed != nil:
		return "GENERATED"
	case c.Metadata != nil:
		return "METADATA"
	}
	return ""
}

// columns takes over columns before the table's own. A column that replaces another takes its
// place.
func (m *likeMerger) columns(s *sql.CreateTable) error {
	for _, c := range m.from.Columns {
		if k := m.from.PrimaryKey; c.Type != nil && k != nil && slices.ContainsFunc(k.Columns, func(name sql.Ident) bool { return name.Name == c.Name.Name }) {
			t := *c.Type
			t.NotNull, c.Type = true, &t // with EXCLUDING CONSTRAINTS, too
		}
		if f := featureOf(c); f == "" || m.merging(f) != sql.Excluding {
			m.into.Columns = append(m.into.Columns, c)
		}
	}
	taken := len(m.into.Columns)
	for _, c := range s.Columns {
		same := func(other sql.Column) bool { return other.Name.Name == c.Name.Name }
		i := slices.IndexFunc(m.into.Columns[:taken], same)
		switch f := featureOf(c); {
		case i < 0:
			m.into.Columns = append(m.into.Columns, c)
		case f == "" || featureOf(m.into.Columns[i]) != f:
			return sql.Errorf(c, "column %s already exists in table %s", c.Name.Name, lastName(m.like.Table)).WithHint("only a computed column can replace a computed one, and a metadata column a metadata column")
		case m.merging(f) != sql.Overwriting:
			return sql.Errorf(c, "column %s already exists in table %s", c.Name.Name, lastName(m.like.Table)).WithHint("write LIKE … (OVERWRITING %s) or (EXCLUDING %s)", f, f)
		default:
			m.into.Columns[i] = c
		}
	}
	return nil
}

func (m *likeMerger) watermark(s *sql.CreateTable) error {
	merging := m.merging("WATERMARKS")
	if m.from.Watermark == nil || merging == sql.Excluding {
		return nil
	}
	if s.Watermark == nil {
		m.into.Watermark = m.from.Watermark
		return nil
	}
	if merging != sql.Overwriting {
		return sql.Errorf(s.Watermark, "table %s already has a WATERMARK", lastName(m.like.Table)).WithHint("write LIKE … (OVERWRITING WATERMARKS) or (EXCLUDING WATERMARKS)")
	}
	return nil
}

func (m *likeMerger) primaryKey(s *sql.CreateTable) error {
	if m.from.PrimaryKey == nil || m.merging("CONSTRAINTS") == sql.Excluding {
		return m.nullableKey(s)
	}
	if s.PrimaryKey != nil {
		return sql.Errorf(s.PrimaryKey, "table %s already has a PRIMARY KEY", lastName(m.like.Table)).WithHint("write LIKE … (EXCLUDING CONSTRAINTS)")
	}
	m.into.PrimaryKey = m.from.PrimaryKey
	return nil
}

// nullableKey refuses a primary key of columns that the other table declares without NOT NULL, as
// Flink does: a key makes only columns of its own statement NOT NULL.
func (m *likeMerger) nullableKey(s *sql.CreateTable) error {
	if s.PrimaryKey == nil {
		return nil
	}
	for _, name := range s.PrimaryKey.Columns {
		for _, c := range m.into.Columns {
			taken := !slices.ContainsFunc(s.Columns, func(own sql.Column) bool { return own.Name.Name == c.Name.Name })
			if c.Name.Name == name.Name && taken && c.Type != nil && !c.Type.NotNull {
				return sql.Errorf(name, "the primary key column %s is not NOT NULL in table %s", name.Name, lastName(m.like.Table)).WithHint("declare it NOT NULL there")
			}
		}
	}
	return nil
}

func (m *likeMerger) partitioned(s *sql.CreateTable) error {
	if m.from.Partitioned == nil || m.merging("PARTITIONS") == sql.Excluding {
		return nil
	}
	if s.Partitioned != nil {
		return sql.Errorf(s.Partitioned[0], "table %s already has PARTITIONED BY", lastName(m.like.Table)).WithHint("write LIKE … (EXCLUDING PARTITIONS)")
	}
	m.into.Partitioned = m.from.Partitioned
	return nil
}

func (m *likeMerger) options(s *sql.CreateTable) error {
	merging := m.merging("OPTIONS")
	if merging == sql.Excluding {
		m.into.Options = s.Options
		return nil
	}
	if merging == sql.Including {
		for _, o := range s.Options {
			if slices.ContainsFunc(m.from.Options, func(other sql.Option) bool { return other.Key == o.Key }) {
				return sql.Errorf(o, "table %s already has the option '%s'", lastName(m.like.Table), o.Key).WithHint("write LIKE … (OVERWRITING OPTIONS) or (EXCLUDING OPTIONS)")
			}
		}
	}
	m.into.Options = overwrite(m.from.Options, s.Options)
	return nil
}

// overwrite returns options, in which others take the place of those with the same key.
func overwrite(options, others []sql.Option) []sql.Option {
	all := slices.Clone(options)
	for _, o := range others {
		if i := slices.IndexFunc(all[:len(options)], func(other sql.Option) bool { return other.Key == o.Key }); i >= 0 {
			all[i] = o
		} else {
			all = append(all, o)
		}
	}
	return all
}

func lastName(path []sql.Ident) string { return path[len(path)-1].Name }
