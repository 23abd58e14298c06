package metamorphic

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/plan"
)

// insert adds an INSERT and reports whether the planner accepts it.
func (g *generator) insert() bool {
	r := oneOf(g, g.relations)
	kinds := []struct {
		name string
		make func(*relation) string
	}{
		{"projection", g.projection}, {"group", g.group}, {"group", g.group}, {"group of groups", g.groupOfGroups}, {"group of groups", g.groupOfGroups}, {"windows", g.windows}, {"windows", g.windows}, {"Top-N", g.topN}, {"last row of a key", g.lastOfKey},
		{"DISTINCT", g.distinctRows}, {"OVER", g.overRows}, {"grouping sets", g.groupingSets}, {"windows again", g.windowsAgain}, {"Top-N of windows", g.topNOfWindows}, {"chain", g.chain},
		{"join", g.join}, {"join", g.join}, {"join", g.join}, {"ORDER BY", g.sorted}, {"LIMIT", g.limited},
	}
	k := oneOf(g, kinds)
	switch {
	case k.name == "join":
	case r.unique != nil && r.updating:
		k.name, k.make = "upserts", g.upserts
	case r.updating && k.name != "group of groups":
		return false
	}
	query := k.make(r)
	return query != "" && g.sink(query, k.name)
}

// sink adds a table for the rows of a query, with the key that the planner derives, and an INSERT.
func (g *generator) sink(query, feature string) bool {
	t := g.preview(query)
	if t == nil {
		return false
	}
	if !g.write(g.name("o"), query, t, "") {
		return false
	}
	g.features[feature] = true
	return true
}

// write adds a table like that of a preview, and an INSERT of a query into it. It reports whether
// the rows can be written: those with several watermark columns can't.
func (g *generator) write(name, query string, t *plan.Table, more string) bool {
	before := len(g.ddl)
	cols := make([]tableColumn, len(t.Columns))
	for i, c := range t.Columns {
		cols[i] = tableColumn{name: c.Name, text: c.Type.Nullable(true).String()}
	}
	options := fmt.Sprintf("'connector' = 'kafka', 'topic' = '%s', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset'", name)
	if t.Upsert {
		var key []string
		for _, c := range t.PrimaryKey {
			key = append(key, t.Columns[c].Name)
		}
		more = ", PRIMARY KEY (" + strings.Join(key, ", ") + ") NOT ENFORCED"
		options = fmt.Sprintf("'connector' = 'upsert-kafka', 'topic' = '%s', 'key.format' = 'json', 'value.format' = 'json'", name)
	}
	g.add(fmt.Sprintf("CREATE TABLE %s (%s%s)\nWITH (%s)", name, declared(cols), more, options))
	g.add("INSERT INTO " + name + " " + query)
	if _, err := plan.Compile(g.text(), "metamorphic"); err != nil && strings.Contains(err.Error(), "several columns with a watermark") {
		g.ddl = g.ddl[:before]
		g.rejected++
		return false
	}
	return true
}

func (g *generator) projection(r *relation) string {
	var items []string
	for range 1 + g.IntN(4) {
		items = append(items, g.item(r))
	}
	if r.direct && g.chance(30) {
		items = append(items, g.fill(oneOf(g, failing), r, 0)+" AS "+g.name("c"))
		g.features["rows that fail"] = true
	}
	return "SELECT " + strings.Join(unique(items), ", ") + " FROM " + r.name + g.where(r, 50)
}

// unique removes duplicates.
func unique(items []string) []string {
	var all []string
	for _, i := range items {
		if !slices.Contains(all, i) {
			all = append(all, i)
		}
	}
	return all
}

// grouped generates a GROUP BY over a relation.
func (g *generator) grouped(r *relation) string {
	keys := g.keys(r, 1+g.IntN(2))
	if len(keys) == 0 {
		return ""
	}
	items := slices.Clone(keys)
	group := slices.Clone(keys)
	if g.chance(20) {
		e := g.expression(r, oneOf(g, []string{"int", "str", "bool", "date"}), 2)
		if strings.HasPrefix(e, "(") {
			items, group = append(items, e+" AS "+g.name("c")), append(group, e)
		}
	}
	for range 1 + g.IntN(3) {
		items = append(items, g.aggregate(r, true, r.updating, true)+" AS "+g.name("c"))
	}
	having := ""
	if g.chance(20) {
		having = " HAVING " + oneOf(g, []string{"COUNT(*) > 1", "COUNT(*) < 3", "MIN(" + g.expression(r, "int", 0) + ") < 1"})
		g.features["HAVING"] = true
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM " + r.name + g.where(r, 40) + " GROUP BY " + strings.Join(group, ", ") + having
}

func (g *generator) group(r *relation) string { return g.grouped(r) }

// upserts reads the rows of an upsert table, or of a view over it, which are identified by its key.
func (g *generator) upserts(r *relation) string {
	switch g.IntN(7) {
	case 6:
		return g.groupingSets(r)
	case 5:
		return g.firstRows(r)
	case 0:
		return g.grouped(r)
	case 1:
		return g.distinctRows(r)
	case 2:
		g.features["Top-N of updated rows"] = true
		return g.topN(r)
	case 3:
		query := g.grouped(r)
		if query == "" {
			return ""
		}
		if r = g.addView(query, &relation{updating: true}); r == nil {
			return ""
		}
		return g.grouped(r)
	}
	items := slices.Clone(r.unique)
	for range 1 + g.IntN(3) {
		items = append(items, g.item(r))
	}
	return "SELECT " + strings.Join(unique(items), ", ") + " FROM " + r.name + g.where(r, 60)
}

// groupOfGroups groups updating rows: those of groups, of a Top-N, or the last row of each key.
func (g *generator) groupOfGroups(r *relation) string {
	if !r.updating {
		query := oneOf(g, []func(*relation) string{g.grouped, g.lastOfKey, g.lastOfKey, g.topN})(r)
		if query == "" {
			return ""
		}
		if r = g.addView(query, &relation{updating: true}); r == nil {
			return ""
		}
	}
	if g.chance(15) {
		return g.groupingSets(r)
	}
	return g.grouped(r)
}

func (g *generator) windows(r *relation) string {
	query, _ := g.windowQuery(r, false)
	return query
}

// windowsAgain groups the rows of windows by window only.
func (g *generator) windowsAgain(r *relation) string {
	r = g.withWindow(r)
	if r == nil {
		return ""
	}
	return "SELECT ws, we, " + g.aggregate(r, false, false, true) + " AS c, COUNT(*) AS n FROM " + r.name + " GROUP BY ws, we"
}

// withWindow returns a relation whose rows have a window, creating one if necessary.
func (g *generator) withWindow(r *relation) *relation {
	if r.window != nil || r.updating {
		return map[bool]*relation{true: r}[r.window != nil]
	}
	query, to := g.windowed(r)
	if query == "" {
		return nil
	}
	return g.addView(query, to)
}

func (g *generator) topNOfWindows(r *relation) string {
	r = g.withWindow(r)
	if r == nil || r.unique == nil {
		return ""
	}
	by := ""
	if keys := g.keys(r, g.IntN(2)); len(keys) > 0 {
		by = ", " + strings.Join(keys, ", ")
	}
	return fmt.Sprintf("SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY ws, we%s ORDER BY %s) AS rn FROM %s) WHERE %s", by, g.order(r), r.name, g.limit())
}

// order generates a total order.
func (g *generator) order(r *relation) string {
	by := oneOf(g, r.cols)
	items := r.unique
	if by.is("ord") {
		items = append([]string{by.name + oneOf(g, []string{"", " DESC", " ASC NULLS LAST"})}, items...)
	}
	return strings.Join(items, ", ")
}

func (g *generator) limit() string {
	return oneOf(g, []string{"rn <= 2", "rn <= 3", "rn = 1", "rn BETWEEN 2 AND 3"})
}

func (g *generator) topN(r *relation) string {
	keys := g.keys(r, 1+g.IntN(2))
	if r.unique == nil || len(keys) == 0 {
		return ""
	}
	return fmt.Sprintf("SELECT %s, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY %s ORDER BY %s) AS rn FROM %s%s) WHERE %s",
		strings.Join(unique(append(slices.Clone(keys), g.kept(r)...)), ", "), strings.Join(keys, ", "), g.order(r), r.name, g.where(r, 30), g.limit())
}

// sorted sorts rows by their time, in an INSERT or in a view.
func (g *generator) sorted(r *relation) string {
	if r.time == "" || r.repeats { // a window over the hour that occurs twice ends after its time
		return ""
	}
	query := "SELECT " + strings.Join(g.kept(r), ", ") + " FROM " + r.name + g.where(r, 30) + " ORDER BY " + r.time
	if c := oneOf(g, r.cols); c.is("ord") && c.name != r.time {
		query += ", " + c.name + oneOf(g, []string{"", " DESC"})
	}
	if g.chance(50) {
		return query
	}
	to := *r
	view := g.addView(query, &to)
	if view == nil {
		return ""
	}
	if view.window == nil && g.chance(50) {
		return g.windows(view)
	}
	return g.grouped(view)
}

// limited selects the first rows by a total order, or a number of equal rows.
func (g *generator) limited(r *relation) string {
	if r.unique == nil || g.chance(30) {
		return "SELECT 'x' AS c FROM " + r.name + g.where(r, 30) + " LIMIT " + oneOf(g, []string{"1", "3 OFFSET 2", "100000"})
	}
	return g.firstRows(r)
}

// firstRows selects the first rows by a total order.
func (g *generator) firstRows(r *relation) string {
	g.features["ORDER BY … LIMIT"] = true
	return "SELECT " + strings.Join(g.kept(r), ", ") + " FROM " + r.name + g.where(r, 30) + " ORDER BY " + g.order(r) + " LIMIT " + oneOf(g, []string{"1", "3", "3 OFFSET 1", "20"})
}

func (g *generator) lastOfKey(r *relation) string {
	keys := g.keys(r, 1+g.IntN(2))
	if len(keys) == 0 || r.time == "" || r.ties {
		return ""
	}
	return fmt.Sprintf("SELECT %s FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY %s ORDER BY %s DESC) AS rn FROM %s) WHERE rn = 1",
		strings.Join(unique(append(slices.Clone(keys), g.kept(r)...)), ", "), strings.Join(keys, ", "), r.time, r.name)
}

func (g *generator) distinctRows(r *relation) string {
	keys := g.keys(r, 1+g.IntN(3))
	if len(keys) == 0 || slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, "z") }) {
		return ""
	}
	return "SELECT DISTINCT " + strings.Join(keys, ", ") + " FROM " + r.name + g.where(r, 30)
}

func (g *generator) overRows(r *relation) string {
	items, from := g.overQuery(r)
	if items == "" {
		return ""
	}
	return "SELECT " + strings.Join(g.kept(r), ", ") + ", " + items + from
}

func (g *generator) groupingSets(r *relation) string {
	keys := g.keys(r, 2)
	if len(keys) < 2 {
		return ""
	}
	a, b := keys[0], keys[1]
	sets := oneOf(g, []string{"GROUPING SETS ((%[1]s, %[2]s), (%[1]s), ())", "ROLLUP (%[1]s, %[2]s)", "CUBE (%[1]s, %[2]s)"})
	if r.time == "" || r.updating || g.chance(40) {
		g.features["grouping sets without a window"] = true
		return fmt.Sprintf("SELECT %[1]s, %[2]s, GROUPING_ID(%[1]s, %[2]s) AS g1, COUNT(*) AS n, %[3]s AS c FROM %[4]s GROUP BY ", a, b, g.aggregate(r, true, r.updating, false), r.name) + fmt.Sprintf(sets, a, b)
	}
	w := "INTERVAL '" + oneOf(g, g.scale.windows)[1]
	return fmt.Sprintf("SELECT window_start AS ws, window_end AS we, %[1]s, %[2]s, GROUPING(%[1]s) AS g1, GROUPING(%[2]s) AS g2, %[3]s AS c FROM TABLE(TUMBLE(TABLE %[4]s, DESCRIPTOR(%[5]s), %[6]s)) GROUP BY window_start, window_end, ",
		a, b, g.aggregate(r, false, false, false), r.name, r.time, w) + fmt.Sprintf(sets, a, b)
}

// chain writes rows to a table that another INSERT reads. Rows of several tasks arrive there in any
// order, so its watermark is delayed by more than the time span of all data.
func (g *generator) chain(r *relation) string {
	if r.time == "" || r.window != nil {
		return ""
	}
	query := "SELECT " + strings.Join(g.kept(r), ", ") + " FROM " + r.name + g.where(r, 30)
	t := g.preview(query)
	if t == nil {
		return ""
	}
	name := g.name("mid")
	if !g.write(name, query, t, ", WATERMARK FOR "+r.time+" AS "+r.time+" - INTERVAL '90' DAY") {
		return ""
	}
	mid := &relation{name: name, time: r.time, ties: r.ties, repeats: r.repeats, unique: r.unique, cols: g.columns("SELECT * FROM " + name)}
	g.relations = append(g.relations, mid)
	return oneOf(g, []func(*relation) string{g.grouped, g.windows, g.topN, g.projection})(mid)
}
