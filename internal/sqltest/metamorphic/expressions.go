package metamorphic

import (
	"slices"
	"strings"

	"weir.example/weir/internal/column"
)

// is reports whether a column is of a kind in templates: "int", "num", "dec", "dbl", "str", "bool",
// "date", "stamp", "arr", "map", "row", "ord" for everything with an order, or "any" for everything
// comparable.
func (c tableColumn) is(kind string) bool {
	t := c.typ
	switch kind {
	case "int":
		return t.Integer()
	case "dec":
		return t.Kind == column.Decimal
	case "dbl":
		return t.Class() == column.Floats && !c.signed()
	case "num":
		return t.Numeric() && !c.signed()
	case "str":
		return t.Kind == column.String
	case "bool":
		return t.Kind == column.Boolean
	case "date":
		return t.Kind == column.Date
	case "stamp":
		return t.Instant()
	case "arr":
		return t.Kind == column.Array && t.Elem.Kind == column.Int
	case "map":
		return t.Kind == column.Map
	case "row":
		return t.Kind == column.Row
	case "ord":
		return c.is("any") && t.Kind != column.Bytes && !c.signed()
	case "any":
		return !t.Nested()
	}
	return false
}

// literals are used if a relation has no column of a kind.
var literals = map[string][]string{
	"int": {"1", "-1", "0", "7"}, "num": {"2", "1.5", "0.25e0"}, "dec": {"1.50", "-0.5"}, "dbl": {"0.5e0", "-2e0"}, "str": {"'a'", "''", "'b'"}, "bool": {"TRUE", "FALSE"},
	"date": {"DATE '2026-01-01'"}, "stamp": {"TIMESTAMP '2026-01-01 00:00:00'"}, "any": {"1"}, "ord": {"1"},
}

// templates build expressions of a kind from others. Those of floats never return -0.0.
var templates = map[string][]string{
	"int":   {"{int} + {int}", "-{int}", "ABS({int})", "{int} * {int}", "{int} - 1", "CASE WHEN {bool} THEN {int} ELSE {int} END", "COALESCE({int}, 0)", "CHAR_LENGTH({str})", "MOD({int}, 3)", "CARDINALITY({arr})", "{arr}[1]", "{map}['x']", "EXTRACT(HOUR FROM {stamp})", "EXTRACT(DAY FROM {date})", "NULLIF({int}, 1)", "CAST({dec} AS INT)"},
	"dec":   {"{dec} + {dec}", "{dec} * {dec}", "CAST({int} AS DECIMAL(10, 0))", "COALESCE({dec}, 0.5)", "ROUND({dec}, 1)", "ABS({dec})", "CASE WHEN {bool} THEN {dec} END"},
	"dbl":   {"{dbl} + {dbl}", "COALESCE({dbl}, 0.5e0)", "CAST({int} AS DOUBLE)", "CASE WHEN {bool} THEN {dbl} ELSE 2e0 END"},
	"num":   {"{int}", "{dec}", "{dbl}", "{int} + {dec}"},
	"str":   {"UPPER({str})", "{str} || {str}", "SUBSTRING({str} FROM 1 FOR 2)", "COALESCE({str}, '-')", "CAST({int} AS STRING)", "CAST({date} AS STRING)", "CAST({stamp} AS STRING)", "TRIM({str})", "CASE WHEN {bool} THEN {str} ELSE 'z' END", "CAST({bool} AS STRING)", "CAST({dec} AS STRING)", "REPLACE({str}, 'a', 'bb')", "CAST({str} AS VARCHAR(2))", "DATE_FORMAT({stamp}, 'yyyy-MM-dd HH')"},
	"bool":  {"{num} {cmp} {num}", "{str} {cmp} {str}", "{any} IS NULL", "{any} IS NOT NULL", "{bool} AND {bool}", "{bool} OR {bool}", "NOT {bool}", "{str} LIKE 'a%'", "{int} IN (1, 2, -1)", "{int} BETWEEN -1 AND 1", "{int} IS DISTINCT FROM {int}", "{bool} IS NOT TRUE", "{str} IN ('a', 'b')", "{date} {cmp} DATE '2026-01-01'"},
	"date":  {"CAST({stamp} AS DATE)", "{date} + INTERVAL '1' DAY", "FLOOR({date} TO MONTH)"},
	"stamp": {"FLOOR({stamp} TO HOUR)", "{stamp} + INTERVAL '90' MINUTE", "CEIL({stamp} TO DAY)"},
}

// failing are expressions that fail for some rows.
var failing = []string{"10 / {int}", "CAST({str} AS INT)", "CAST({str} AS DATE)", "MOD(7, {int})"}

var comparisons = []string{"=", "<>", "<", "<=", ">", ">="}

// expression generates an expression of a kind over the columns of a relation, nested up to depth.
func (g *generator) expression(r *relation, kind string, depth int) string {
	if of := templates[kind]; of != nil && depth > 0 && g.chance(55) {
		if t := oneOf(g, of); r.suits(t) {
			return "(" + g.fill(t, r, depth-1) + ")"
		}
	}
	var cols []string
	for _, c := range r.cols {
		if c.is(kind) {
			cols = append(cols, c.name)
		}
	}
	if len(cols) > 0 && (!g.chance(8) || literals[kind] == nil) {
		return oneOf(g, cols)
	}
	return oneOf(g, literals[kind])
}

// suits reports whether a relation has the columns that a template needs and that have no literal.
func (r *relation) suits(template string) bool {
	for _, kind := range []string{"arr", "map"} {
		if strings.Contains(template, "{"+kind+"}") && !slices.ContainsFunc(r.cols, func(c tableColumn) bool { return c.is(kind) }) {
			return false
		}
	}
	return true
}

// fill replaces the placeholders of a template.
func (g *generator) fill(template string, r *relation, depth int) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(template, "{")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		kind, behind, _ := strings.Cut(rest, "}")
		if kind == "cmp" {
			out.WriteString(oneOf(g, comparisons))
		} else {
			out.WriteString(g.expression(r, kind, depth))
		}
		template = behind
	}
}

var resultKinds = []string{"int", "dec", "dbl", "str", "bool", "date", "stamp", "any"}

// item generates a column of SELECT with its name: an expression, or a plain column.
func (g *generator) item(r *relation) string {
	if g.chance(50) {
		return oneOf(g, r.cols).name
	}
	kind := oneOf(g, resultKinds)
	e := g.expression(r, kind, 2)
	if strings.HasPrefix(e, "z") { // keeps the name: it may be -0.0
		return e
	}
	return e + " AS " + g.name("c")
}

// where generates a WHERE clause or returns "".
func (g *generator) where(r *relation, chance int) string {
	if r.updating && r.direct || !g.chance(chance) {
		return ""
	}
	return " WHERE " + g.expression(r, "bool", 3)
}

// aggregate generates a call of an aggregate function whose result does not depend on the order of
// rows. retract is whether rows may be retracted.
func (g *generator) aggregate(r *relation, distinct, retract, filter bool) string {
	d := ""
	if distinct && g.chance(25) {
		d = "DISTINCT "
		g.features["DISTINCT aggregate"] = true
	}
	var call string
	asText := false
	which := g.IntN(9)
	if retract && g.chance(40) {
		which = 5 + g.IntN(2) // retraction is hardest for MIN and MAX
	}
	switch which {
	case 0, 1:
		call = "COUNT(*)"
	case 2:
		call = "COUNT(" + d + g.expression(r, "any", 1) + ")"
	case 3:
		call = "SUM(" + d + g.expression(r, "num", 1) + ")"
	case 4:
		call = "AVG(" + d + g.expression(r, "num", 1) + ")"
	case 5:
		call = "MIN(" + g.expression(r, "ord", 1) + ")"
	case 6:
		call = "MAX(" + g.expression(r, "ord", 1) + ")"
	case 7:
		of := "int"
		if retract {
			of = "num" // exact there also for floats
		}
		call = oneOf(g, []string{"VAR_POP", "STDDEV_SAMP"}) + "(" + g.expression(r, of, 1) + ")"
	case 8:
		of := "str"
		if asText = filter && g.chance(50); asText { // JSON has only multisets of strings
			of = "any"
		}
		call = "COLLECT(" + d + g.expression(r, of, 1) + ")"
		g.features["COLLECT"] = true
	}
	if filter && g.chance(25) {
		call += " FILTER (WHERE " + g.expression(r, "bool", 2) + ")"
		g.features["FILTER"] = true
	}
	if asText {
		call = "CAST(" + call + " AS STRING)"
	}
	return call
}
