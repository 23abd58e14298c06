package metamorphic

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
)

// view adds a view over rows that are append-only or those of an upsert table, if possible. Its
// rows are of the same kind.
func (g *generator) view() {
	r := oneOf(g, g.relations)
	if r.updating {
		if r.unique != nil {
			g.addView(g.projected(r))
		}
		return
	}
	kinds := []func(*relation) (string, *relation){g.projected, g.projected, g.united, g.unnested, g.firstOfKey, g.lookedUp, g.windowed, g.windowed, g.over}
	query, to := oneOf(g, kinds)(r)
	if query == "" {
		return
	}
	g.addView(query, to)
}

// addView adds a query as a view if the planner accepts it.
func (g *generator) addView(query string, to *relation) *relation {
	to.cols = g.columns(query)
	if to.cols == nil {
		return nil
	}
	has := func(name string) bool {
		return slices.ContainsFunc(to.cols, func(c tableColumn) bool { return c.name == name })
	}
	if !has(to.time) {
		to.time = ""
	}
	if slices.ContainsFunc(to.unique, func(c string) bool { return !has(c) }) {
		to.unique = nil
	}
	to.name = g.name("w")
	g.add("CREATE VIEW " + to.name + " AS " + query)
	g.relations = append(g.relations, to)
	return to
}

// kept returns the columns that a view passes on: its time, its unique key, and some others.
func (g *generator) kept(r *relation) []string {
	var names []string
	for _, c := range r.cols {
		if c.name == r.time || slices.Contains(r.unique, c.name) || slices.Contains(r.window, c.name) || g.chance(75) {
			names = append(names, c.name)
		}
	}
	if len(names) == 0 {
		names = []string{r.cols[0].name}
	}
	return names
}

func (g *generator) projected(r *relation) (string, *relation) {
	items := g.kept(r)
	for range g.IntN(3) {
		if i := g.item(r); strings.Contains(i, " AS ") {
			items = append(items, i)
		}
	}
	to := *r
	g.features["view"] = true
	return "SELECT " + strings.Join(items, ", ") + " FROM " + r.name + g.where(r, 50), &to
}

// united generates a UNION ALL over the common columns of two relations.
func (g *generator) united(r *relation) (string, *relation) {
	other := oneOf(g, g.relations)
	if other.updating || r.time == "" || other.time == "" || r.window != nil || other.window != nil {
		return "", nil
	}
	var left, right []string
	for _, c := range r.cols {
		for _, d := range other.cols {
			if (c.name == d.name || c.typ.Same(d.typ) && c.name != "id" && c.name != r.time && d.name != other.time && c.signed() == d.signed()) && !slices.Contains(right, d.name) {
				left, right = append(left, c.name), append(right, d.name)
				break
			}
		}
	}
	if len(left) < 2 {
		return "", nil
	}
	g.features["UNION ALL"] = true
	return fmt.Sprintf("SELECT %s FROM %s%s UNION ALL SELECT %s FROM %s%s", strings.Join(left, ", "), r.name, g.where(r, 30), strings.Join(right, ", "), other.name, g.where(other, 30)),
		&relation{time: r.time, ties: true, repeats: r.repeats || other.repeats}
}

func (g *generator) unnested(r *relation) (string, *relation) {
	var of []string
	for _, c := range r.cols {
		if c.typ.Nested() && c.typ.Kind != column.Row {
			of = append(of, c.name)
		}
	}
	if len(of) == 0 {
		return "", nil
	}
	array := oneOf(g, of)
	kind := r.cols[slices.IndexFunc(r.cols, func(c tableColumn) bool { return c.name == array })]
	names := []string{g.name("u")}
	if strings.Contains(kind.text, "ROW") || kind.is("map") {
		names = append(names, g.name("u"))
	}
	ordinality := ""
	unique := []string(nil)
	if kind.typ.Kind == column.Array && g.chance(60) {
		ordinality = " WITH ORDINALITY"
		names = append(names, g.name("o"))
		if r.unique != nil {
			unique = append(slices.Clone(r.unique), names[len(names)-1])
		}
	}
	columns := slices.DeleteFunc(g.kept(r), func(c string) bool { return c == array })
	join, on := " CROSS JOIN ", ""
	if g.chance(40) {
		join, on = " LEFT JOIN ", " ON TRUE"
		unique = nil // NULL would not be unique, but there is only one such row
	}
	g.features["UNNEST"] = true
	return fmt.Sprintf("SELECT %s FROM %s%sUNNEST(%s)%s AS n (%s)%s", strings.Join(append(columns, names...), ", "), r.name, join, array, ordinality, strings.Join(names, ", "), on),
		&relation{time: r.time, ties: true, repeats: r.repeats, unique: unique, direct: r.direct}
}

// firstOfKey keeps the first row of each key by time.
func (g *generator) firstOfKey(r *relation) (string, *relation) {
	key := g.keys(r, 1+g.IntN(2))
	if r.time == "" || r.ties || r.repeats || len(key) == 0 {
		return "", nil
	}
	columns := strings.Join(g.kept(r), ", ")
	g.features["first row of a key"] = true
	return fmt.Sprintf("SELECT %s FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY %s ORDER BY %s ASC) AS rn FROM %s) WHERE rn = 1", columns, strings.Join(key, ", "), r.time, r.name),
		&relation{time: r.time, unique: r.unique}
}

// keys returns columns to group by, preferring the tables' key.
func (g *generator) keys(r *relation, n int) []string {
	var all, names []string
	for _, c := range r.cols {
		if c.is("any") && c.name != r.time && c.name != "id" && !slices.Contains(r.window, c.name) {
			all = append(all, c.name)
		}
	}
	for range n {
		if len(all) == 0 {
			break
		}
		i := g.IntN(len(all))
		if k := slices.IndexFunc(all, func(s string) bool { return s == keyName }); k >= 0 && g.chance(50) {
			i = k
		}
		if z := slices.IndexFunc(all, func(s string) bool { return s[0] == 'z' }); z >= 0 && g.chance(25) {
			i = z
		}
		names, all = append(names, all[i]), slices.Delete(all, i, i+1)
	}
	return names
}

// lookedUp joins the version that was valid at each row's time.
func (g *generator) lookedUp(r *relation) (string, *relation) {
	if g.versions == nil || !g.ltz || r.time == "" || r.repeats || slices.ContainsFunc(r.cols, func(c tableColumn) bool { return c.name == "vs" }) {
		return "", nil
	}
	k := g.versions.key[0]
	var on []string
	for _, c := range r.cols {
		if c.text == g.versions.cols[0].text {
			on = append(on, c.name)
		}
	}
	if len(on) == 0 {
		return "", nil
	}
	left := oneOf(g, on)
	if slices.Contains(on, k) {
		left = k
	}
	columns := g.kept(r)
	for i, c := range columns {
		columns[i] = "l." + c
	}
	cond := ""
	if g.chance(25) {
		cond = " AND v.vi > 0"
	}
	g.features["lookup"] = true
	return fmt.Sprintf("SELECT %s, v.vs, v.vi FROM %s AS l %s %s FOR SYSTEM_TIME AS OF l.%s AS v ON l.%s = v.%s%s", strings.Join(columns, ", "), r.name,
		oneOf(g, []string{"LEFT JOIN", "JOIN"}), g.versions.name, r.time, left, k, cond), &relation{time: "", ties: r.ties, unique: r.unique}
}

// windowTable generates a window TABLE(…) over a relation; keys are the columns by which a SESSION
// must be grouped, nil for other windows.
func (g *generator) windowTable(r *relation, keys []string) (table string, session bool) {
	w := oneOf(g, g.scale.windows)
	slide, size := "INTERVAL '"+w[0], "INTERVAL '"+w[1]
	offset := ""
	if g.chance(12) {
		offset = ", " + slide
	}
	kind := oneOf(g, []string{"TUMBLE", "TUMBLE", "HOP", "CUMULATE", "SESSION"})
	g.features[kind] = true
	switch kind {
	case "TUMBLE":
		return fmt.Sprintf("TABLE(TUMBLE(TABLE %s, DESCRIPTOR(%s), %s%s))", r.name, r.time, oneOf(g, []string{size, slide}), offset), false
	case "SESSION":
		by := ""
		if len(keys) > 0 {
			by = " PARTITION BY (" + strings.Join(keys, ", ") + ")"
			if len(keys) == 1 {
				by = " PARTITION BY " + keys[0]
			}
		}
		return fmt.Sprintf("TABLE(SESSION(TABLE %s%s, DESCRIPTOR(%s), %s))", r.name, by, r.time, slide), true
	}
	return fmt.Sprintf("TABLE(%s(TABLE %s, DESCRIPTOR(%s), %s, %s%s))", kind, r.name, r.time, slide, size, offset), false
}

// windowQuery groups a relation by windows and returns the names of the selected columns. With
// time, it also selects window_time.
func (g *generator) windowQuery(r *relation, time bool) (query string, keys []string) {
	if r.time == "" {
		return "", nil
	}
	keys = g.keys(r, g.IntN(3))
	table, session := g.windowTable(r, keys)
	items := append(slices.Clone(keys), "window_start AS ws", "window_end AS we")
	group := append(slices.Clone(keys), "window_start", "window_end")
	if time {
		items, group = append(items, "window_time AS wt"), append(group, "window_time")
	}
	for range 1 + g.IntN(3) {
		items = append(items, g.aggregate(r, true, false, true)+" AS "+g.name("c"))
	}
	having := ""
	if g.chance(15) {
		having = " HAVING " + g.aggregate(r, false, false, false) + " IS NOT NULL"
		g.features["HAVING"] = true
	}
	where := ""
	switch {
	case session:
	case g.chance(15):
		where = " WHERE EXTRACT(HOUR FROM window_start) < EXTRACT(HOUR FROM window_end) OR EXTRACT(MINUTE FROM window_end) = 30"
		g.features["WHERE over a window"] = true
	default:
		where = g.where(r, 30)
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM " + table + where + " GROUP BY " + strings.Join(group, ", ") + having, keys
}

func (g *generator) windowed(r *relation) (string, *relation) {
	time := g.chance(70)
	query, keys := g.windowQuery(r, time)
	if query == "" || slices.Contains(keys, "ws") {
		return "", nil
	}
	to := &relation{ties: true, unique: append(slices.Clone(keys), "ws", "we"), window: []string{"ws", "we"}}
	if time {
		to.time, to.repeats = "wt", g.ltz && g.zone != ""
	}
	return query, to
}

// overQuery adds OVER aggregates.
func (g *generator) overQuery(r *relation) (items, from string) {
	if r.time == "" || r.repeats {
		return "", ""
	}
	by := ""
	if keys := g.keys(r, g.IntN(3)); len(keys) > 0 {
		by = "PARTITION BY " + strings.Join(keys, ", ") + " "
	}
	frames := []string{"", " RANGE BETWEEN INTERVAL '" + oneOf(g, g.scale.windows)[0] + " PRECEDING AND CURRENT ROW"}
	if !r.ties {
		frames = append(frames, " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW")
	}
	frame := oneOf(g, frames)
	var calls []string
	for range 1 + g.IntN(2) {
		call := g.aggregate(r, frame == "", false, false)
		if !r.ties && g.chance(30) {
			call = oneOf(g, []string{"FIRST_VALUE", "LAST_VALUE"}) + "(" + g.expression(r, "any", 1) + ")"
			if frame == "" && g.chance(50) {
				call = "LAG(" + g.expression(r, "any", 1) + ")"
			}
		}
		calls = append(calls, call+" OVER w AS "+g.name("c"))
	}
	g.features["OVER"] = true
	return strings.Join(calls, ", "), fmt.Sprintf(" FROM %s WINDOW w AS (%sORDER BY %s%s)", r.name, by, r.time, frame)
}

func (g *generator) over(r *relation) (string, *relation) {
	items, from := g.overQuery(r)
	if items == "" {
		return "", nil
	}
	return "SELECT " + strings.Join(g.kept(r), ", ") + ", " + items + from, &relation{time: r.time, ties: r.ties, unique: r.unique}
}
