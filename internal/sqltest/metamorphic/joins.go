package metamorphic

import (
	"fmt"
	"slices"
	"strings"
)

// join generates a join of two relations. Its result is grouped if rows of it are replaced.
func (g *generator) join(r *relation) string {
	other := oneOf(g, g.relations)
	kind := oneOf(g, []string{"JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"})
	make := oneOf(g, []func(a, b *relation, kind string) (string, *relation){g.windowJoin, g.intervalJoin, g.allJoin, g.semiJoin, g.scalarQuery, g.truthOfQuery, g.valuesJoin})
	query, to := make(r, other, kind)
	if query == "" {
		return ""
	}
	if !to.updating && g.chance(50) {
		return query
	}
	if to = g.addView(query, to); to == nil {
		return ""
	}
	if to.time != "" && g.chance(50) {
		return g.windows(to)
	}
	return g.grouped(to)
}

// equalities generates equalities of columns of a and b; "" if there are none.
func (g *generator) equalities(a, b *relation) string {
	var all []string
	for _, c := range a.cols {
		for _, d := range b.cols {
			if c.is("any") && c.typ.Same(d.typ) && !c.signed() && !d.signed() && c.name != "id" && d.name != "id" && c.name != a.time && d.name != b.time &&
				!slices.Contains(a.window, c.name) && !slices.Contains(b.window, d.name) {
				equal := "a." + c.name + " = b." + d.name
				if c.name == keyName && d.name == keyName { // the tables' key is preferred
					all = append(all, equal, equal)
				}
				all = append(all, equal)
			}
		}
	}
	if len(all) == 0 {
		return ""
	}
	first := oneOf(g, all)
	if second := oneOf(g, all); g.chance(20) && second != first {
		return first + " AND " + second
	}
	return first
}

// both returns columns of a and b: those of a under their names, those of b renamed. Of the times,
// it returns only that of a, and only if the result has a watermark: variants change their type.
func (g *generator) both(a, b *relation, timed bool) []string {
	items := g.side(a, timed)
	for _, c := range g.kept(b) {
		if c != b.time {
			items = append(items, "b."+c+" AS "+g.name(c[:1]))
		}
	}
	return items
}

// side returns columns of a.
func (g *generator) side(a *relation, timed bool) []string {
	var items []string
	for _, c := range g.kept(a) {
		if timed || c != a.time {
			items = append(items, "a."+c)
		}
	}
	return items
}

// moreConditions sometimes returns a condition over both sides.
func (g *generator) moreConditions(a, b *relation) string {
	var left, right []string
	for _, c := range a.cols {
		if c.is("int") {
			left = append(left, "a."+c.name)
		}
	}
	for _, c := range b.cols {
		if c.is("int") {
			right = append(right, "b."+c.name)
		}
	}
	if len(left) == 0 || len(right) == 0 || g.chance(70) {
		return ""
	}
	return " AND " + oneOf(g, left) + oneOf(g, []string{" < ", " <> ", " >= "}) + oneOf(g, right)
}

func (g *generator) windowJoin(a, b *relation, kind string) (string, *relation) {
	if a.updating || b.updating || a.time == "" || b.time == "" || a.window != nil || b.window != nil {
		return "", nil
	}
	table, session := g.windowTable(a, nil)
	if session {
		return "", nil
	}
	of := strings.Replace(strings.Replace(table, "TABLE "+a.name+",", "TABLE "+b.name+",", 1), "DESCRIPTOR("+a.time+")", "DESCRIPTOR("+b.time+")", 1)
	on := "a.window_start = b.window_start AND a.window_end = b.window_end"
	if equal := g.equalities(a, b); equal != "" && g.chance(85) {
		on = equal + " AND " + on
	}
	g.features["window join"] = true
	return fmt.Sprintf("SELECT %s FROM %s AS a %s %s AS b ON %s%s", strings.Join(g.both(a, b, false), ", "), table, kind, of, on, g.moreConditions(a, b)),
		&relation{ties: true}
}

func (g *generator) intervalJoin(a, b *relation, kind string) (string, *relation) {
	if a.updating || b.updating || a.time == "" || b.time == "" || a.repeats || b.repeats || g.zone != "" { // local times make intervals of other lengths
		return "", nil
	}
	equal := g.equalities(a, b)
	if equal == "" {
		return "", nil
	}
	w := oneOf(g, g.scale.windows)
	low, high := "INTERVAL '"+w[0], "INTERVAL '"+w[1]
	bounds := oneOf(g, []string{
		"b.%[2]s BETWEEN a.%[1]s - %[3]s AND a.%[1]s + %[4]s", "b.%[2]s >= a.%[1]s AND b.%[2]s < a.%[1]s + %[4]s", "a.%[1]s - %[4]s < b.%[2]s AND a.%[1]s - %[3]s > b.%[2]s", "a.%[1]s = b.%[2]s",
	})
	cond := equal + " AND " + strings.Split(fmt.Sprintf(bounds+"\x00%[3]s%[4]s", a.time, b.time, low, high), "\x00")[0] + g.moreConditions(a, b)
	to := &relation{ties: true}
	if kind == "JOIN" || kind == "LEFT JOIN" {
		to.time = a.time
	}
	g.features["interval join"] = true
	return fmt.Sprintf("SELECT %s FROM %s AS a %s %s AS b ON %s", strings.Join(g.both(a, b, to.time != ""), ", "), a.name, kind, b.name, cond), to
}

func (g *generator) allJoin(a, b *relation, kind string) (string, *relation) {
	equal := g.equalities(a, b)
	if equal == "" {
		return "", nil
	}
	g.features["regular join"] = true
	right := b.name + " AS b ON " + equal + g.moreConditions(a, b)
	if (kind == "JOIN" || kind == "LEFT JOIN") && g.chance(25) {
		g.features["LATERAL"] = true
		right = fmt.Sprintf("LATERAL (SELECT * FROM %s AS b WHERE %s%s) AS b ON TRUE", b.name, equal, g.moreConditions(a, b))
	}
	return fmt.Sprintf("SELECT %s FROM %s AS a %s %s%s", strings.Join(g.both(a, b, false), ", "), a.name, kind, right, g.whereOf(a)),
		&relation{ties: true, updating: kind != "JOIN" || a.updating || b.updating}
}

// whereOf sometimes returns a WHERE over a column of a.
func (g *generator) whereOf(a *relation) string {
	for _, c := range a.cols {
		if c.is("int") && g.chance(15) {
			return " WHERE a." + c.name + " > 0"
		}
	}
	return ""
}

func (g *generator) semiJoin(a, b *relation, _ string) (string, *relation) {
	equal := g.equalities(a, b)
	columns := g.side(a, false)
	if equal == "" || len(columns) == 0 {
		return "", nil
	}
	not := oneOf(g, []string{"", "NOT "})
	g.features["semi join"] = true
	cond := fmt.Sprintf("%sEXISTS (SELECT 1 FROM %s AS b WHERE %s%s)", not, b.name, equal, g.moreConditions(a, b))
	if left, right, ok := strings.Cut(equal, " = "); ok && !strings.Contains(right, " AND ") && g.chance(50) {
		cond = fmt.Sprintf("%s %sIN (SELECT %s FROM %s AS b)", left, not, right, b.name)
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + a.name + " AS a WHERE " + cond,
		&relation{ties: true, updating: not != "" || a.updating || b.updating}
}

// scalarQuery generates a query that uses another one as a value: of all rows, or of those that
// correspond to a row.
func (g *generator) scalarQuery(a, b *relation, _ string) (string, *relation) {
	columns := g.side(a, false)
	c := intColumn(b)
	if c == "" || len(columns) == 0 {
		return "", nil
	}
	value := "SELECT " + oneOf(g, []string{"MAX(b." + c + ")", "MIN(b." + c + ")", "COUNT(*)", "COALESCE(SUM(b." + c + "), -1)"}) + " FROM " + b.name + " AS b"
	if equal := g.equalities(a, b); equal != "" && g.chance(60) {
		value += " WHERE " + equal
	}
	g.features["query as a value"] = true
	return "SELECT " + strings.Join(columns, ", ") + ", (" + value + ") AS " + g.name("v") + " FROM " + a.name + " AS a" + g.whereOf(a), &relation{ties: true, updating: true}
}

// truthOfQuery generates a query that uses IN or EXISTS as a value: in SELECT, under OR in WHERE,
// or in the ON of a join.
func (g *generator) truthOfQuery(a, b *relation, kind string) (string, *relation) {
	equal := g.equalities(a, b)
	columns := g.side(a, false)
	c, d := intColumn(a), intColumn(b)
	if equal == "" || len(columns) == 0 || c == "" || d == "" {
		return "", nil
	}
	from := " FROM " + b.name + " AS b" + oneOf(g, []string{"", " WHERE b." + d + " > 0", " WHERE b." + d + " IS NOT NULL"})
	not := oneOf(g, []string{"", "NOT "})
	exists := not + "EXISTS (SELECT 1" + from + ")"
	g.features["IN as a value"] = true
	items := "SELECT " + strings.Join(columns, ", ")
	to := &relation{ties: true, updating: true}
	if g.chance(30) {
		return items + " FROM " + a.name + " AS a " + kind + " " + b.name + " AS b ON " + equal + " AND (a." + c + " > 0 OR " + exists + ")", to
	}
	if g.chance(40) {
		from = " FROM " + b.name + " AS b WHERE " + equal
		exists = not + "EXISTS (SELECT 1" + from + ")"
	}
	value := oneOf(g, []string{exists, "a." + c + " " + not + "IN (SELECT b." + d + from + ")"})
	if g.chance(50) {
		return items + ", " + value + " AS " + g.name("v") + " FROM " + a.name + " AS a" + g.whereOf(a), to
	}
	return items + " FROM " + a.name + " AS a WHERE a." + c + " > 0 OR " + value, to
}

// valuesJoin generates a join with constant rows.
func (g *generator) valuesJoin(a, _ *relation, kind string) (string, *relation) {
	columns := g.side(a, false)
	c := intColumn(a)
	if c == "" || len(columns) == 0 {
		return "", nil
	}
	if kind = strings.Replace(kind, "RIGHT", "LEFT", 1); kind == "FULL JOIN" {
		kind = "JOIN"
	}
	on := "a." + c + oneOf(g, []string{" = v.k", " > v.k", " + v.k > 1 AND v.k <> 2"})
	g.features["join with VALUES"] = true
	return "SELECT " + strings.Join(columns, ", ") + ", v.t AS " + g.name("v") + " FROM " + a.name + " AS a " + kind + " (VALUES (-1, 'x'), (0, 'y'), (2, 'z')) AS v (k, t) ON " + on,
		&relation{ties: true, updating: kind != "JOIN" || a.updating}
}

// intColumn returns a column of integers; "" if there is none.
func intColumn(r *relation) string {
	for _, c := range r.cols {
		if c.is("int") {
			return c.name
		}
	}
	return ""
}
