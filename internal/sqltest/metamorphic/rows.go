package metamorphic

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// values are the values of columns by type. Domains are small, so that rows share keys, and sums of
// floats are exact.
var values = map[string][]string{
	"BOOLEAN": {"true", "false"}, "TINYINT": {"-1", "0", "2", "-128"}, "SMALLINT": {"-1", "0", "2", "300"}, "INT": {"-2", "-1", "0", "1", "5", "2147483647"}, "BIGINT": {"-1", "0", "3", "12345678901"},
	"FLOAT": {"0.5", "0.0", "-1.25", "2.0"}, "DOUBLE": {"0.5", "0.0", "-1.25", "2.0", "1024.0"},
	"DECIMAL(8, 2)": {"1.5", "-0.25", "0", "1.50", "100000.01"}, "DECIMAL(20, 5)": {"1.00001", "-2", "0.00000", "99999999999.5"},
	"STRING": {`""`, `"a"`, `"b"`, `"abc"`, `"\u00e9"`, `"A b"`, `"-1"`}, "VARCHAR(3)": {`"a"`, `"b"`, `"abc"`, `"\u00e9\u00e9"`}, "BYTES": {`""`, `"YQ=="`, `"AP8="`},
	"DATE": {`"2026-01-01"`, `"1969-12-31"`, `"2024-02-29"`}, "TIME(0)": {`"00:00:00"`, `"12:30:05"`}, "TIMESTAMP(3)": {`"2026-03-29 02:30:00"`, `"1969-12-31 23:59:59.999"`}, "TIMESTAMP_LTZ(3)": {`"2026-10-25 00:30:00Z"`, `"2026-01-01 00:00:00.001Z"`},
	"ARRAY<INT>": {"[]", "[1]", "[3,null,1]", "[2,2]"}, "ARRAY<STRING>": {"[]", `["a"]`, `["b",null,""]`}, "ARRAY<ROW<x INT, y STRING>>": {"[]", `[{"x":1,"y":"a"}]`, `[{"x":-1,"y":null},null,{"x":2,"y":"b"}]`},
	"MAP<STRING, INT>": {"{}", `{"x":1}`, `{"x":null,"y":-2}`}, "MULTISET<STRING>": {"{}", `{"a":1}`, `{"b":3,"a":2}`}, "ROW<x INT, y STRING>": {`{"x":1,"y":"a"}`, `{"x":null,"y":"b"}`},
}

// versionKeys are the values of keys in raw format, by type. They contain no blanks, which would
// separate the arguments of a test's commands.
var versionKeys = map[string][]string{
	"STRING": {"a", "b", "abc"}, "VARCHAR(3)": {"a", "b"}, "INT": {"-2", "0", "5"}, "BIGINT": {"-1", "3"}, "SMALLINT": {"-1", "2"}, "BOOLEAN": {"true", "false"}, "DOUBLE": {"0.5", "-1.25", "0.0"}, "DATE": {"2026-01-01", "1969-12-31"}, "DECIMAL(8, 2)": {"1.50", "-0.25", "0.00"},
}

// value generates a value of a column as JSON.
func (g *generator) value(c tableColumn) string {
	if g.chance(12) {
		return "null"
	}
	if c.signed() && g.chance(30) {
		return "-0.0"
	}
	of := values[c.text]
	if c.name == keyName {
		of = of[:min(len(of), 4)]
	}
	return oneOf(g, of)
}

// sends generates the records of all tables in the order in which they are sent.
func (g *generator) sends() []Send {
	var of [][]Send
	for _, t := range g.tables {
		of = append(of, g.records(t))
	}
	if g.versions != nil {
		of = append(of, g.versionRecords(g.versions))
	}
	return interleave(g.Rand, of)
}

// interleave merges the records of several topics, keeping the order of each.
func interleave(r *rand.Rand, of [][]Send) []Send {
	var all []Send
	for {
		of = slices.DeleteFunc(of, func(s []Send) bool { return len(s) == 0 })
		if len(of) == 0 {
			return all
		}
		i := r.IntN(len(of))
		n := min(len(of[i]), 1+r.IntN(6))
		all, of[i] = append(all, of[i][:n]...), of[i][n:]
	}
}

// times generates the times of consecutive rows: less than the delay before the latest so far, and
// unique unless the case has ties.
func (g *generator) times(n int, seen map[int64]bool) []time.Time {
	all := make([]time.Time, 0, n)
	at, delay := g.start, g.scale.delay.Milliseconds()
	jump := 1 + g.IntN(12)
	for len(all) < n {
		at = at.Add(time.Duration(g.Int64N(2*g.scale.step.Milliseconds())) * time.Millisecond)
		if g.chance(jump) {
			at = at.Add(time.Duration(g.Int64N(10)) * g.scale.step)
		}
		latest, ms := at.UnixMilli(), int64(0)
		for ok := false; !ok; {
			ms = latest
			if g.chance(60) {
				ms -= g.Int64N(delay)
			}
			if g.chance(25) { // boundaries of windows
				ms -= ms % (delay / 2)
				if g.chance(50) {
					ms--
				}
			}
			ok = ms > latest-delay && ms <= latest && (g.ties || !seen[ms])
		}
		if g.ties && len(all) > 0 && g.chance(20) {
			if again := all[len(all)-1].UnixMilli(); again > latest-delay && again <= latest {
				ms = again
			}
		}
		seen[ms] = true
		all = append(all, time.UnixMilli(ms).UTC())
	}
	return all
}

func (g *generator) records(t *table) []Send {
	skew := g.IntN(3)
	var all []Send
	for _, at := range g.times(8+g.IntN(60), g.taken) {
		g.ids++
		var fields []string
		for _, c := range t.cols {
			v := ""
			switch c.name {
			case "id":
				v = fmt.Sprint(g.ids)
			case "ts":
				v = `"` + at.Format("2006-01-02 15:04:05.999") + map[bool]string{true: "Z"}[g.ltz] + `"`
			default:
				v = g.value(c)
			}
			fields = append(fields, quoted(c.name)+":"+v)
		}
		row := "{" + strings.Join(fields, ",") + "}"
		if g.chance(1) {
			row = row[:len(row)-1] // invalid JSON
		}
		p := g.Int32N(4)
		if skew == 0 && g.chance(70) {
			p = 1
		}
		all = append(all, Send{Topic: t.name, Row: row, Partition: p})
	}
	return all
}

func (g *generator) versionRecords(t *table) []Send {
	var all []Send
	for _, at := range g.times(2+g.IntN(15), make(map[int64]bool)) {
		key := oneOf(g, versionKeys[t.cols[0].text])
		s := Send{Topic: t.name, At: at}
		jsonKey := key
		if text := t.cols[0].text; text == "STRING" || text == "DATE" || strings.HasPrefix(text, "VARCHAR") {
			jsonKey = quoted(key)
		}
		s.Row = fmt.Sprintf(`{%s:%s,"vs":%s,"vi":%s}`, quoted(t.cols[0].name), jsonKey, g.value(t.cols[1]), g.value(t.cols[2]))
		if g.chance(20) {
			s.Row, s.Key = "null", key
			if strings.Contains(g.text(), "'topic' = '"+t.name+"', 'key.format' = 'json'") {
				s.Key = fmt.Sprintf(`{%s:%s}`, quoted(t.cols[0].name), jsonKey)
			}
		}
		all = append(all, s)
	}
	return all
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return string(b)
}
