package metamorphic

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sql"
)

// shrinkTime bounds the shrinking of a failure.
const shrinkTime = 20 * time.Second

// shrinker shrinks a failing case: a step is kept if the same kind of failure remains.
type shrinker struct {
	*Failure
	until time.Time
}

// shrink shrinks a failure: first its variant, then records, statements, clauses and columns, until
// nothing more can be removed.
func shrink(f *Failure) {
	s := shrinker{f, time.Now().Add(shrinkTime)}
	s.variant()
	for again := true; again && !s.over(); {
		again = s.sends()
		again = s.statements() || again
		again = s.columns() || again
	}
}

func (s *shrinker) over() bool { return time.Now().After(s.until) }

// otherSeeds is the number of other read orders tried for a smaller case: with fewer records, the
// same seed gives a different order.
const otherSeeds = 8

// keep keeps a case and a variant if they fail as before.
func (s *shrinker) keep(c Case, v Variant) bool {
	if s.over() {
		return false
	}
	base := c.run(Plainest)
	f := c.judge(base, base, Plainest)
	if f == nil && v != Plainest {
		f = c.judge(base, c.run(v), v)
		for n := 0; f == nil && v.Seed != 0 && n < otherSeeds && !s.over(); n++ {
			v.Seed++
			f = c.judge(base, c.run(v), v)
		}
	} else if v != Plainest {
		return false // the plain variant fails now: a different failure
	}
	if f == nil || f.Kind != s.Kind || f.Kind == "error" && wording(f.Detail) != wording(s.Detail) {
		return false
	}
	*s.Failure = *f
	return true
}

// wording returns the beginning of an error without its numbers, which may change while the case
// shrinks.
func wording(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 60)]
}

// variant simplifies the variant.
func (s *shrinker) variant() {
	for _, simpler := range []func(*Variant){
		func(v *Variant) { v.Crash = false }, func(v *Variant) { v.Seed = 0 }, func(v *Variant) { v.Batch = 0 }, func(v *Variant) { v.MaxFired = 0 },
		func(v *Variant) { v.Step = 0 }, func(v *Variant) { v.Plain = false }, func(v *Variant) { v.Plain = true }, func(v *Variant) { v.Wall = false },
		func(v *Variant) { v.Partitions = 1 }, func(v *Variant) { v.Keys = Declared }, func(v *Variant) { v.Keys = Undeclared },
	} {
		if s.Variant == Plainest {
			return
		}
		v := s.Variant
		if simpler(&v); v != s.Variant {
			s.keep(s.Case, v)
		}
	}
}

// sends removes records, in large chunks first.
func (s *shrinker) sends() (smaller bool) {
	for n := max(1, len(s.Case.Sends)/2); n > 0; n /= 2 {
		for at := 0; at < len(s.Case.Sends) && !s.over(); {
			c := s.Case
			c.Sends = slices.Delete(slices.Clone(c.Sends), at, min(at+n, len(c.Sends)))
			if s.keep(c, s.Variant) {
				smaller = true
			} else {
				at += n
			}
		}
	}
	return smaller
}

// statements removes statements and parts of queries, one at a time.
func (s *shrinker) statements() (smaller bool) {
	for n := 0; !s.over(); {
		statements := s.Case.statements()
		edits := editsOf(&statements)
		if n >= len(edits) {
			return smaller
		}
		edits[n]()
		c := s.Case
		var ok bool
		if c.SQL, ok = withSinks(statements); ok && c.SQL != s.Case.SQL && len(c.SQL) < len(s.Case.SQL) && s.keep(c, s.Variant) {
			smaller = true
			continue
		}
		n++
	}
	return smaller
}

// editsOf returns the possible simplifications of statements.
func editsOf(statements *[]sql.Statement) []func() {
	var all []func()
	for i := range slices.Backward(*statements) {
		all = append(all, func() { *statements = slices.Delete(*statements, i, i+1) })
	}
	for _, st := range *statements {
		switch st := st.(type) {
		case *sql.Insert:
			all = append(all, editsOfBody(&st.Query.Body)...)
		case *sql.CreateView:
			all = append(all, editsOfBody(&st.Query.Body)...)
		}
	}
	return all
}

func editsOfBody(b *sql.QueryBody) []func() {
	switch q := (*b).(type) {
	case *sql.SetOp:
		all := []func(){func() { *b = q.Left }, func() { *b = q.Right }}
		return slices.Concat(all, editsOfBody(&q.Left), editsOfBody(&q.Right))
	case *sql.Query:
		return editsOfBody(&q.Body)
	case *sql.Select:
		return editsOfSelect(q)
	}
	return nil
}

func editsOfSelect(q *sql.Select) []func() {
	var all []func()
	if q.Where != nil {
		all = append(all, func() { q.Where = nil })
	}
	if q.Having != nil {
		all = append(all, func() { q.Having = nil })
	}
	for i := range slices.Backward(q.Items) {
		all = append(all, func() { q.Items = slices.Delete(q.Items, i, i+1) })
	}
	for i := range slices.Backward(q.GroupBy) {
		all = append(all, func() { q.GroupBy = slices.Delete(q.GroupBy, i, i+1) })
	}
	for i := range q.Items {
		all = append(all, editsOfExpr(&q.Items[i].Expr)...)
	}
	all = append(all, editsOfExpr(&q.Where)...)
	all = append(all, editsOfExpr(&q.Having)...)
	for _, f := range q.From {
		switch f := f.(type) {
		case *sql.Derived:
			all = append(all, editsOfBody(&f.Query.Body)...)
		case *sql.Join:
			all = append(all, func() { q.From = []sql.TableRef{f.Left} })
		}
	}
	return all
}

// editsOfExpr returns the parts of an expression that can replace it.
func editsOfExpr(e *sql.Expr) []func() {
	var all []func()
	part := func(p *sql.Expr) {
		if *p != nil {
			all = append(all, func() { *e = *p })
			all = append(all, editsOfExpr(p)...)
		}
	}
	switch x := (*e).(type) {
	case *sql.Unary:
		part(&x.X)
	case *sql.Binary:
		part(&x.L)
		part(&x.R)
	case *sql.Cast:
		part(&x.X)
	case *sql.Case:
		for i := range x.Whens {
			part(&x.Whens[i].Then)
		}
	case *sql.Call:
		if x.Filter != nil {
			all = append(all, func() { x.Filter = nil })
		}
		if x.Distinct {
			all = append(all, func() { x.Distinct = false })
		}
		if x.Over != nil || x.OverName != nil {
			break
		}
		for i := range x.Args {
			part(&x.Args[i])
		}
	}
	return all
}

// withSinks returns statements whose target tables match the current queries; ok is false if the
// planner rejects them.
func withSinks(statements []sql.Statement) (string, bool) {
	sinks := sinks(statements)
	g := &generator{}
	watermarks := make(map[string]string)
	for _, s := range statements {
		switch s := s.(type) {
		case *sql.CreateTable:
			if slices.Contains(sinks, s.Name[0].Name) {
				if s.Watermark != nil {
					watermarks[s.Name[0].Name] = fmt.Sprintf(", WATERMARK FOR %s AS %s", s.Watermark.Column[0].Name, sql.FormatExpr(s.Watermark.Expr))
				}
				continue
			}
		case *sql.Insert:
			query := sql.FormatQuery(s.Query)
			t := g.preview(query)
			if t == nil {
				return "", false
			}
			g.write(s.Table[0].Name, query, t, watermarks[s.Table[0].Name])
			continue
		}
		g.add(sql.Format(s))
	}
	return g.text(), true
}

// columns removes columns of input tables, with their values.
func (s *shrinker) columns() (smaller bool) {
	for n := 0; !s.over(); n++ {
		statements := s.Case.statements()
		t, c := columnOf(statements, n)
		if t == nil {
			return smaller
		}
		name, topic := t.Columns[c].Name.Name, option(t, "topic")
		t.Columns = slices.Delete(t.Columns, c, c+1)
		next := s.Case
		next.SQL = text(statements)
		if _, err := plan.Compile(next.SQL, "metamorphic"); err != nil {
			continue
		}
		next.Sends = slices.Clone(next.Sends)
		for i, send := range next.Sends {
			if send.Topic == topic {
				next.Sends[i].Row = without(send.Row, name)
			}
		}
		if s.keep(next, s.Variant) {
			smaller = true
			n--
		}
	}
	return smaller
}

// columnOf returns the nth column over all tables.
func columnOf(statements []sql.Statement, n int) (*sql.CreateTable, int) {
	for _, st := range statements {
		t, ok := st.(*sql.CreateTable)
		if !ok {
			continue
		}
		if n < len(t.Columns) {
			return t, n
		}
		n -= len(t.Columns)
	}
	return nil, 0
}

// without removes a field from a row.
func without(row, name string) string {
	d := json.NewDecoder(strings.NewReader(row))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return row
	}
	var fields []string
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return row
		}
		if key != name {
			fields = append(fields, quoted(key.(string))+":"+string(value))
		}
	}
	if _, err := d.Token(); err != nil {
		return row // invalid on purpose
	}
	return "{" + strings.Join(fields, ",") + "}"
}
