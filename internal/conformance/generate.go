package conformance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// family is a file of testdata/expressions: expressions of one kind, evaluated over the single row
// of expressionTable.
type family struct {
	name      string
	zones     []string // one file per zone
	templates string   // one per line; {pool} stands for an alternative from that pool; a leading *n asks for n expressions
}

// samples is the default number of expressions per template.
const samples = 8

// expressions generates a family's expressions, in an order that depends only on the seed.
func (f family) expressions(seed uint64) []string {
	var all []string
	seen := make(map[string]bool)
	for _, template := range strings.Split(strings.TrimSpace(f.templates), "\n") {
		template, n := strings.TrimSpace(template), samples
		if rest, ok := strings.CutPrefix(template, "*"); ok {
			count, text, _ := strings.Cut(rest, " ")
			if _, err := fmt.Sscan(count, &n); err != nil {
				panic(err) // a bug in a template
			}
			template = text
		}
		r := rand.New(rand.NewPCG(seed, uint64(len(template)))) //nolint:gosec // must be reproducible
		for range 4 * n {                                       // duplicates are skipped
			if e := fill(template, r); !seen[e] && n > 0 {
				seen[e] = true
				all = append(all, e)
				n--
			}
		}
	}
	return all
}

// fill replaces each placeholder of a template with an alternative.
func fill(template string, r *rand.Rand) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(template, "{")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		name, behind, _ := strings.Cut(rest, "}")
		if pool, ok := pools[name]; ok {
			out.WriteString(pool[r.IntN(len(pool))])
		} else {
			out.WriteString("{" + name + "}") // part of a regular expression
		}
		template = behind
	}
}

// tableColumn is a column of expressionTable. Columns, unlike literals, keep Flink from
// constant-folding the expressions.
type tableColumn struct{ name, kind, json string }

// expressionTable has one row: for each type, usual values, the limits of its range, and NULL.
var expressionTable = []tableColumn{
	{"bt", "BOOLEAN", "true"}, {"bf", "BOOLEAN", "false"}, {"bn", "BOOLEAN", "null"},
	{"t1", "TINYINT", "5"}, {"t2", "TINYINT", "-128"}, {"tn", "TINYINT", "null"},
	{"h1", "SMALLINT", "300"}, {"h2", "SMALLINT", "-32768"}, {"hn", "SMALLINT", "null"},
	{"i0", "INT", "0"}, {"i1", "INT", "7"}, {"i2", "INT", "-3"}, {"i3", "INT", "2147483647"}, {"i4", "INT", "2"}, {"i5", "INT", "-2147483648"}, {"in1", "INT", "null"},
	{"l1", "BIGINT", "12345678901"}, {"l2", "BIGINT", "-9223372036854775808"}, {"l3", "BIGINT", "9223372036854775807"}, {"l4", "BIGINT", "1767323045678"}, {"ln1", "BIGINT", "null"},
	{"f1", "FLOAT", "1.5"}, {"f2", "FLOAT", "-0.1"}, {"f3", "FLOAT", "3.0E38"}, {"fn1", "FLOAT", "null"},
	{"d0", "DOUBLE", "0.0"}, {"d1", "DOUBLE", "2.5"}, {"d2", "DOUBLE", "-1.005"}, {"d3", "DOUBLE", "1.0E300"}, {"d4", "DOUBLE", "1.0E-7"}, {"d5", "DOUBLE", "123456789.98765433"}, {"d6", "DOUBLE", "0.3"}, {"dn", "DOUBLE", "null"},
	{"c1", "DECIMAL(10, 3)", "12.345"}, {"c2", "DECIMAL(10, 3)", "-0.005"}, {"c3", "DECIMAL(38, 18)", "12345678901234567890.123456789012345678"},
	{"c4", "DECIMAL(38, 0)", "99999999999999999999999999999999999999"}, {"c5", "DECIMAL(5, 0)", "-99999"}, {"c6", "DECIMAL(18, 6)", "2.500000"}, {"cn", "DECIMAL(10, 3)", "null"},
	{"s1", "STRING", `"pump-1"`}, {"s2", "STRING", `""`}, {"s3", "STRING", `"  Padded text "`}, {"s4", "STRING", `"a\u00f1\ud83d\ude00b"`}, {"s5", "STRING", `"a,b;c=d,,e"`},
	{"s6", "STRING", `"12.5"`}, {"s7", "STRING", `"abc\n"`}, {"s8", "STRING", `"\u00c9t\u00e9 STRASSE stra\u00dfe"`}, {"s9", "STRING", `"Quote\"s \\ and/or\ttab"`}, {"sn", "STRING", "null"},
	{"w1", "STRING", `"-42"`}, {"w2", "STRING", `"7"`}, {"w3", "STRING", `" 1e3 "`}, {"w4", "STRING", `"yes"`}, {"w5", "STRING", `"99999999999"`}, {"w6", "STRING", `"NaN"`},
	{"q1", "STRING", `"2026-03-29 02:30:00"`}, {"q2", "STRING", `"2026-10-25 02:30:00.123456"`}, {"q3", "STRING", `"2026-01-02"`}, {"q4", "STRING", `"0000-01-01 00:00:00"`}, {"q5", "STRING", `"2026-02-30"`},
	{"q6", "STRING", `"23:30"`}, {"q7", "STRING", `"1969-12-31T23:59:59.999Z"`}, {"q8", "STRING", `"02.01.2026 03:04"`},
	{"j1", "STRING", `"{\"a\":1,\"b\":\"x\",\"c\":[1,2.50,{\"d\":true}],\"e\":null,\"g\":{\"h\":\"i\"}}"`}, {"j2", "STRING", `"[1,\"two\",null,3.5e2]"`}, {"j3", "STRING", `"not json"`}, {"j4", "STRING", `"\"q\\\"\\u0041\""`}, {"j5", "STRING", `"\"[\"a\"]\""`}, {"j6", "STRING", `"\"\"\""`},
	{"u1", "STRING", `"https://user:pw@host.org:8080/p/a.php?q=1&r=x%20y&q=2#frag"`}, {"u2", "STRING", `"mqtt://broker:1883/a"`}, {"u3", "STRING", `"http://h/a?"`}, {"u4", "STRING", `"http://h"`}, {"u5", "STRING", `"http://h/a b?c d#"`}, {"u6", "STRING", `"file:///etc/x?y"`}, {"u7", "STRING", `"jar:file:/a.jar!/b"`}, {"u8", "STRING", `"//h/x"`},
	{"y1", "BYTES", `"YWJj"`}, {"y2", "BYTES", `""`}, {"y3", "BYTES", `"AP9h"`}, {"yn", "BYTES", "null"},
	{"a1", "DATE", `"2026-01-02"`}, {"a2", "DATE", `"1969-12-31"`}, {"a3", "DATE", `"2024-02-29"`}, {"a4", "DATE", `"0001-01-01"`}, {"a5", "DATE", `"9999-12-31"`}, {"an", "DATE", "null"},
	{"m1", "TIME(0)", `"23:30:00"`}, {"m2", "TIME(0)", `"00:00:00"`}, {"mn", "TIME(0)", "null"},
	{"p0", "TIMESTAMP(0)", `"2026-03-29T02:30:00"`}, {"p1", "TIMESTAMP(3)", `"2026-01-02T03:04:05.678"`}, {"p2", "TIMESTAMP(6)", `"1969-12-31T23:59:59.999999"`}, {"p3", "TIMESTAMP(3)", `"2024-02-29T00:00:00"`}, {"p4", "TIMESTAMP(3)", `"9999-12-31T23:59:59.999"`}, {"p5", "TIMESTAMP(3)", `"0001-01-01T00:00:00"`}, {"pn", "TIMESTAMP(3)", "null"},
	{"z0", "TIMESTAMP_LTZ(0)", `"2026-10-25T00:30:00Z"`}, {"z1", "TIMESTAMP_LTZ(3)", `"2026-01-02T03:04:05.678Z"`}, {"z2", "TIMESTAMP_LTZ(6)", `"1969-12-31T23:59:59.999999Z"`}, {"z3", "TIMESTAMP_LTZ(3)", `"2026-11-01T09:30:00Z"`}, {"zn", "TIMESTAMP_LTZ(3)", "null"},
	{"ai", "ARRAY<INT>", "[3,1,null,3]"}, {"ae", "ARRAY<INT>", "[]"}, {"as1", "ARRAY<STRING>", `["b","a",null,""]`}, {"ad", "ARRAY<DOUBLE>", "[2.5,-1.0,2.5]"}, {"an1", "ARRAY<INT>", "null"}, {"ab", "ARRAY<BOOLEAN>", "[true,false]"}, {"aa", "ARRAY<ARRAY<INT>>", "[[1],[2,null],null]"},
	{"mi", "MAP<STRING, INT>", `{"x":1,"y":null}`}, {"me", "MAP<STRING, INT>", "{}"}, {"ms", "MAP<STRING, STRING>", `{"k":"v"}`}, {"mn1", "MAP<STRING, INT>", "null"},
	{"r1", "ROW<x INT, y STRING, z ROW<q DOUBLE>>", `{"x":7,"y":"why","z":{"q":1.5}}`}, {"r2", "ROW<x INT, y STRING, z ROW<q DOUBLE>>", `{"x":null,"y":"","z":null}`}, {"rn", "ROW<x INT, y STRING, z ROW<q DOUBLE>>", "null"},
}

// columnsOf returns the names of the columns whose types begin with one of kinds.
func columnsOf(kinds ...string) []string {
	var all []string
	for _, c := range expressionTable {
		if slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasPrefix(c.kind, kind) }) {
			all = append(all, c.name)
		}
	}
	return all
}

// pools has the alternatives for the placeholders in templates.
var pools = map[string][]string{
	"b": columnsOf("BOOLEAN"), "i": columnsOf("INT"), "w": columnsOf("TINYINT", "SMALLINT", "INT", "BIGINT"), "l": columnsOf("BIGINT"),
	"f": columnsOf("FLOAT", "DOUBLE"), "d": columnsOf("DOUBLE"), "c": columnsOf("DECIMAL"), "n": columnsOf("TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL"),
	"e": columnsOf("TINYINT", "SMALLINT", "INT", "BIGINT", "DECIMAL"),
	"y": columnsOf("BYTES"), "D": columnsOf("DATE"), "T": columnsOf("TIME("), "P": columnsOf("TIMESTAMP("), "L": columnsOf("TIMESTAMP_LTZ("),
	"M": columnsOf("DATE", "TIMESTAMP(", "TIMESTAMP_LTZ("), "a": columnsOf("ARRAY<INT>", "ARRAY<STRING>", "ARRAY<DOUBLE>"), "ai": columnsOf("ARRAY<INT>"), "m": columnsOf("MAP"), "mi": columnsOf("MAP<STRING, INT>"), "r": columnsOf("ROW"),
	"any": func() (all []string) {
		for _, c := range expressionTable {
			all = append(all, c.name)
		}
		return all
	}(),
	"s": {"s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "sn"}, "w1": {"w1", "w2", "w3", "w4", "w5", "w6", "s2", "s6", "sn"},
	"q": {"q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "s2", "sn"}, "j": {"j1", "j2", "j3", "j4", "j5", "j6", "s2", "sn"}, "u": {"u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "sn"},
	"k":   {"i0", "i1 - 6", "i2", "i4", "i1", "in1", "1", "3", "-1", "20"},
	"lit": {"'a'", "''", "'-'", "','", "'é'", "s2", "sn", "'an'", "'😀'"},
	"cmp": {"=", "<>", "<", "<=", ">", ">="}, "op": {"+", "-", "*"}, "div": {"/", "%"},
	"unit":   {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DOY", "DOW", "ISODOW", "ISOYEAR", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND", "EPOCH", "CENTURY", "DECADE", "MILLENNIUM"},
	"round":  {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "DECADE", "CENTURY"},
	"add":    {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"},
	"int":    {"INTERVAL '1' DAY", "INTERVAL '1' MONTH", "INTERVAL '25' HOUR", "INTERVAL '1-2' YEAR TO MONTH", "INTERVAL '1 02:03:04.567' DAY TO SECOND", "INTERVAL '-90' MINUTE", "INTERVAL '13' MONTH", "INTERVAL '0.001' SECOND"},
	"type":   {"BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(6, 2)", "DECIMAL(38, 18)", "DECIMAL(3, 3)", "STRING", "BYTES", "DATE", "TIME", "TIMESTAMP(3)", "TIMESTAMP(0)", "TIMESTAMP(6)", "TIMESTAMP_LTZ(3)", "VARCHAR(3)", "CHAR(8)", "VARBINARY(2)", "BINARY(4)"},
	"number": {"TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(6, 2)", "DECIMAL(38, 18)", "DECIMAL(3, 3)", "DECIMAL(19, 0)", "BOOLEAN", "STRING"},
	"moment": {"DATE", "TIME", "TIMESTAMP(0)", "TIMESTAMP(3)", "TIMESTAMP(6)", "TIMESTAMP_LTZ(3)", "TIMESTAMP_LTZ(0)", "STRING", "VARCHAR(7)"},
	"zone":   {"'UTC'", "'Europe/Berlin'", "'America/Los_Angeles'", "'Asia/Kolkata'", "'GMT+08:00'", "'UTC+8'", "'UTC-03:30'", "'+05:30'", "'Z'", "'GMT'", "'PST'", "'EST'", "'Nowhere/City'", "''", "'GMT+8'", "'gmt'", "'Local'"},
	"form":   {"'yyyy-MM-dd HH:mm:ss'", "'yyyy-MM-dd'", "'yyyy-MM-dd HH:mm:ss.SSS'", "'dd.MM.yyyy HH:mm'", "'yyyy-MM-dd''T''HH:mm:ss.SSSX'", "'HH:mm'", "'yy/M/d H:m:s'", "'EEE MMM dd yyyy hh:mm a'", "'EEEE MMMM D'", "''"},
	"path":   {"'$.a'", "'$.b'", "'$.c'", "'$.c[1]'", "'$.c[*]'", "'$.e'", "'lax $.x'", "'strict $.x'", "'$.g.h'", "'$[3]'", "'$'", "'$.c[2].d'", "'$[0]'", "'$.*'"},
	"regex": {
		"'c$'", "'a.b'", "'^.*$'", "'[[:alpha:]]'", "'[a-z&&[^b]]+'", "'(?i)é'", "'(?i)É'", "'\\s'", "'\\S+'", "'\\v'", "'\\h'", "'\\R'", "'c\\Z'", "'c\\z'", "'\\p{Alpha}'", "'\\p{Lu}'", "'\\p{L}'", "'\\p{Punct}+'", "'\\p{IsAlphabetic}+'",
		"'\\u0061'", "'\\x61'", "'\\x{61}'", "'\\0141'", "'\\ca'", "'[\\w-]+'", "'\\w+'", "'\\W'", "'\\d+'", "'\\D+'", "'\\bp'", "'\\Bu'", "'(p)(u)?(x)?'", "'(?<name>p+)'", "'(?:pu|pa)m'", "'a|b|'", "'a*'", "'a*?'", "'a{1,2}'", "'[^a]'", "'[]a]'", "'[a-]'",
		"'a++'", "'(?=p)'", "'(?<=p)u'", "'(.)\\1'", "'(?s).+'", "'(?m)^.$'", "'(?x) p u '", "'\\Qp-\\E'", "'\\.'", "'\\-'", "'\\t'", "'('", "'*a'", "'[a'", "'a)'", "'\\'", "''", "'(?u)é'", "'[\\s\\S]+'", "'[^\\s]+'", "'\\p{Blank}'", "'\\P{L}'", "'\\pL'", "'[a-c[x-z]]+'", "'[\\p{L}&&[^a-m]]'", "'\\G.'", "'\\X'", "'\\N{LATIN SMALL LETTER A}'", "'\\e'", "'\\a'", "'{'", "'a{'", "'}'", "'a{,2}'", "'[[a]'", "'[&&a]'", "'(?d)^a'", "'(?-i)P'", "'(?i:P)u'", "'^$'", "'\\p{javaLowerCase}+'", "'\\p{InGreek}'", "'\\p{IsLatin}+'", "'\\p{IsDigit}+'", "'\\p{ASCII}'", "'\\p{Graph}+'", "'\\p{XDigit}+'", "'\\p{Cntrl}'", "'\\p{Space}'",
	},
	"where":   {"s1", "s3", "s4", "s5", "s7", "s8", "s9", "s2"},
	"like":    {"'p%'", "'%1'", "'_ump-_'", "'%'", "''", "'p%-%'", "'%\\n'", "'PUMP%'", "'a_b%'", "'%,,%'", "s1", "sn", "'%ñ%'", "'____'", "'a.%'", "'abc_'"},
	"part":    {"'HOST'", "'PATH'", "'QUERY'", "'REF'", "'PROTOCOL'", "'FILE'", "'AUTHORITY'", "'USERINFO'", "'host'", "'X'"},
	"charset": {"'UTF-8'", "'US-ASCII'", "'ISO-8859-1'", "'UTF-16BE'", "'UTF-16LE'", "'UTF-16'", "'utf-8'", "'latin1'", "'X'"},
	"%i":      {"'%d'", "'%5d|'", "'%-5d|'", "'%05d'", "'%+d'", "'% d'", "'%(d'", "'%,d'", "'%,015d'", "'%+,d'", "'%(08d'", "'%x'", "'%X'", "'%#x'", "'%#010x'", "'%o'", "'%#o'", "'%08o'", "'%s'", "'%10s|'", "'%.2s'", "'%c'", "'%b'", "'%+x'", "'%.2d'", "'%0d'", "'%-05d'", "'%#d'", "'%f'", "'%e'", "'%S'", "'%(x'", "'%,x'", "'%+ d'", "'%#X'"},
	"%f":      {"'%f'", "'%.0f'", "'%.1f'", "'%.2f'", "'%.3f'", "'%10.2f|'", "'%-10.2f|'", "'%010.3f'", "'%+.2f'", "'% .2f'", "'%(.2f'", "'%,.2f'", "'%0,15.1f'", "'%(015.2f'", "'%#.0f'", "'%.20f'", "'%e'", "'%.0e'", "'%.3e'", "'%E'", "'%012.2e'", "'%(.1e'", "'%(014.1e|'", "'%#.0e'", "'%g'", "'%.0g'", "'%.3g'", "'%G'", "'%,g'", "'%010g'", "'%(g'", "'%s'", "'%S'", "'%.3s'", "'%b'", "'%d'", "'%,e'", "'%#g'", "'%F'"},
	"%s":      {"'%s'", "'%S'", "'%10s|'", "'%-10s|'", "'%.3s|'", "'%6.2s|'", "'%-6.4s|'", "'%b'", "'%B'", "'%.2b'", "'%7b|'", "'%d'", "'%c'", "'%f'", "'%#s'", "'%05s'", "'%+s'", "'%-s'", "'%2$s %1$s'", "'%1$s %1$s'", "'%s %<s'", "'%<s'", "'%s %s'", "'%3$s'", "'%0$s'", "'%s%%'", "'%5%|'", "'%-5%|'", "'%-%'", "'%.1%'", "'%n'", "'%5n'", "'%'", "'%q'", "'%ld'", "'é%s😀'", "''", "'plain'", "'%--5s'", "'%s %1$s %s'"},
	"fn1":     {"UPPER", "LOWER", "INITCAP", "REVERSE", "CHAR_LENGTH", "CHARACTER_LENGTH", "TRIM", "LTRIM", "RTRIM", "BTRIM", "ASCII", "MD5", "SHA1", "SHA256", "TO_BASE64", "HEX", "URL_ENCODE", "JSON_QUOTE", "JSON_STRING", "IS_ALPHA", "IS_DIGIT", "IS_DECIMAL"},
	"fnd":     {"SQRT", "EXP", "LN", "LOG10", "LOG2", "SIN", "COS", "TAN", "ASIN", "ACOS", "ATAN", "SINH", "COSH", "TANH", "COT", "DEGREES", "RADIANS", "LOG"},
	"whole":   {"ABS", "SIGN", "FLOOR", "CEIL", "CEILING", "ROUND", "TRUNCATE"},
	"named":   {"YEAR", "QUARTER", "MONTH", "WEEK", "DAYOFYEAR", "DAYOFMONTH", "DAYOFWEEK", "HOUR", "MINUTE", "SECOND"},
	"dx":      {"d1", "d2", "d4", "d5", "d6", "d0", "d1 * 7", "d6 / 7", "d5 / 1e7", "d6 + 20", "d1 * 13.7e0", "d6 * 1e-3", "d1 + 0.37e0", "d6 * 3.1e0", "-d6", "-d1 * 3"},
}
