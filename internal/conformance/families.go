package conformance

// families are the expressions of testdata/expressions. Columns are those of expressionTable: bt bf
// booleans, t h i l integers by size, f d floating-point numbers, c decimals, s text, w text with
// numbers, q text with dates and times, j JSON, u URLs, y bytes, a dates, m times, p timestamps, z
// timestamps with local time zone, a… arrays, m… maps, r rows; n in a name means NULL.
var families = []family{
	{name: "number", zones: []string{"UTC"}, templates: `
*40 {n} {op} {n}
*24 {e} {div} {e}
*8 {f} / {n}
*12 {n} {cmp} {n}
*12 -{n}
*28 {whole}({n})
*24 ROUND({n}, {k})
*24 TRUNCATE({n}, {k})
*60 {fnd}({dx})
*20 {fnd}({n})
*16 POWER({dx}, {dx})
*6 POWER({n}, {n})
*10 LOG({dx}, {dx})
*8 ATAN2({dx}, {dx})
*8 MOD({e}, {e})
*6 BIN({w})
*6 HEX({w})
*6 CHR({i} + 70)
*6 GREATEST({n}, {n}, {n})
*6 LEAST({n}, {n})
*6 {n} BETWEEN {n} AND {n}
*6 {n} IN ({n}, {n}, 5)
d0 / d0
d1 / d0
-d1 / d0
-d0
d0 / d0 = d0 / d0
d0 / d0 > d3
d3 * d3
i3 + i1
l3 + i1
t2 - t1
-t2
-i5
ABS(i5)
ABS(l2)
i5 / i2
l2 / -1
i1 / i0
i1 % i0
c1 / (c1 - c1)
PI() * d1
E() + d1
`},
	{name: "decimal", zones: []string{"UTC"}, templates: `
*30 {c} {op} {c}
*16 {c} / {c}
*10 {c} % {c}
*16 {c} {op} {w}
*10 {c} * {f}
*20 ROUND({c}, {k})
*20 TRUNCATE({c}, {k})
*8 ROUND({c})
*10 FLOOR({c})
*10 CEIL({c})
*8 SIGN({c})
*8 ABS({c})
*30 CAST({c} AS {number})
*30 TRY_CAST({n} AS DECIMAL(6, 2))
*12 TRY_CAST({n} AS DECIMAL(38, 18))
*20 CAST({n} AS DECIMAL(20, 5))
*10 CAST({w1} AS DECIMAL(6, 2))
*10 TRY_CAST({w1} AS DECIMAL(3, 1))
*10 {c} {cmp} {n}
*6 CASE WHEN {b} THEN {c} ELSE {n} END
*6 COALESCE({c}, {c})
*6 NULLIF({c}, {c})
c4 + c4
c4 * c4
c3 * c3
c3 / c4
c4 / c6
`},
	{name: "text", zones: []string{"UTC"}, templates: `
*130 {fn1}({s})
*10 {s} || {s}
*10 CONCAT({s}, {lit}, {s})
*10 CONCAT_WS({lit}, {s}, {s}, {lit})
*20 SUBSTRING({s}, {k})
*20 SUBSTRING({s}, {k}, {k})
*8 SUBSTR({s} || 'xyz', {k}, {k})
*14 LEFT({s}, {k})
*14 RIGHT({s}, {k})
*16 LPAD({s}, {k}, {lit})
*16 RPAD({s}, {k}, {lit})
*10 REPEAT({s}, {k})
*16 REPLACE({s}, {lit}, {lit})
*10 REPLACE({s}, {s}, 'x')
*16 TRANSLATE({s}, {lit}, {lit})
*12 TRANSLATE({s}, 'aeiou', {lit})
*12 TRIM(BOTH {lit} FROM {s})
*8 TRIM(LEADING {lit} FROM {s})
*8 TRIM(TRAILING {lit} FROM {s})
*8 LTRIM({s}, {lit})
*8 RTRIM({s}, {lit})
*8 BTRIM({s}, {lit})
*10 POSITION({lit} IN {s})
*12 LOCATE({lit}, {s}, {k})
*10 LOCATE({lit}, {s})
*10 INSTR({s}, {lit})
*14 INSTR({s}, {lit}, {k}, 1)
*14 OVERLAY({s} PLACING {lit} FROM {k})
*14 OVERLAY({s} PLACING {lit} FROM {k} FOR {k})
*16 SPLIT_INDEX({s}, {lit}, {k})
*12 SPLIT({s}, {lit})
*10 STARTSWITH({s}, {lit})
*10 ENDSWITH({s}, {lit})
*6 STARTSWITH({y}, {y})
*6 ENDSWITH({y}, {y})
*12 ELT({k}, {s}, {s})
*8 ASCII({s})
*10 ENCODE({s}, {charset})
*16 DECODE(ENCODE({s}, {charset}), {charset})
*8 DECODE({y}, {charset})
*12 FROM_BASE64(TO_BASE64({s}))
*8 FROM_BASE64({s})
*8 UNHEX(HEX({s}))
*8 UNHEX({s})
*8 URL_DECODE({s})
*8 URL_DECODE(URL_ENCODE({s}))
*6 SHA224({s})
*4 SHA384({s})
*4 SHA512({s})
*8 SHA2({s}, 256)
*4 SHA2({s}, {k})
*60 PARSE_URL({u}, {part})
*12 PARSE_URL({u}, 'QUERY', 'q')
*4 PARSE_URL({u}, 'PATH', 'q')
*14 STR_TO_MAP({s}, ',', '=')
*6 STR_TO_MAP({s})
*14 {s} {cmp} {s}
*8 {s} IN ('pump-1', {lit}, {s})
*6 GREATEST({s}, {s})
*6 LEAST({s}, {lit})
*6 IS_ALPHA({w1})
*8 IS_DIGIT({w1})
*8 IS_DECIMAL({w1})
CHAR_LENGTH(s1 || s4)
`},
	{name: "pattern", zones: []string{"UTC"}, templates: `
*150 REGEXP({where}, {regex})
*110 REGEXP_REPLACE({where}, {regex}, '~')
*70 REGEXP_EXTRACT({where}, {regex}, 0)
*20 REGEXP_EXTRACT({where}, {regex}, 1)
*30 REGEXP_EXTRACT_ALL({where}, {regex}, 0)
*30 REGEXP_COUNT({where}, {regex})
*30 REGEXP_INSTR({where}, {regex})
*30 REGEXP_SUBSTR({where}, {regex})
*10 REGEXP_REPLACE({where}, '(p)', '$1')
*10 STR_TO_MAP({where}, {regex}, '=')
*10 REGEXP({where}, {s})
*40 {where} LIKE {like}
*16 {where} NOT LIKE {like}
*20 {where} SIMILAR TO {like}
s1 LIKE 'p!%' ESCAPE '!'
s1 LIKE 'pump!-1' ESCAPE '!'
s5 LIKE 'a,b;c=d,,e'
s1 SIMILAR TO '(pump|press)-[0-9]+'
s1 SIMILAR TO 'p[a-z]{3}-_'
s7 SIMILAR TO 'abc_'
s7 LIKE 'abc_'
s7 LIKE 'abc'
REGEXP_INSTR(s4, 'b')
REGEXP_INSTR(s4 || s4, 'b.')
`},
	{name: "json", zones: []string{"UTC"}, templates: `
*30 JSON_VALUE({j}, {path})
*16 JSON_VALUE({j}, {path} NULL ON EMPTY DEFAULT 'd' ON ERROR)
*8 JSON_VALUE({j}, {path} RETURNING BOOLEAN)
*30 JSON_QUERY({j}, {path})
*12 JSON_QUERY({j}, {path} WITH WRAPPER)
*12 JSON_QUERY({j}, {path} WITH CONDITIONAL WRAPPER)
*10 JSON_QUERY({j}, {path} EMPTY ARRAY ON EMPTY EMPTY OBJECT ON ERROR)
*30 JSON_EXISTS({j}, {path})
*8 {j} IS JSON
*8 {j} IS JSON OBJECT
*8 {j} IS JSON ARRAY
*8 {j} IS JSON SCALAR
*90 JSON_STRING({any})
*20 JSON_QUOTE({s})
*8 JSON_QUOTE({j})
*10 JSON_UNQUOTE({j})
*10 JSON_UNQUOTE(JSON_QUOTE({s}))
*10 JSON_UNQUOTE({s})
JSON_UNQUOTE('"a' || s1)
JSON_UNQUOTE('"\\n' || s1 || '"')
JSON_UNQUOTE('"\u00e9' || s1 || '"')
JSON_QUOTE(s1 || '/b')
JSON_STRING(ROW(i1, s1, p1))
JSON_STRING(MAP[s1, d1])
JSON_STRING(ARRAY[c1, c6])
`},
	{name: "logic", zones: []string{"UTC"}, templates: `
*10 {b} AND {b}
*10 {b} OR {b}
*3 NOT {b}
*9 {b} IS TRUE
*9 {b} IS NOT TRUE
*6 {b} IS FALSE
*6 {b} IS UNKNOWN
*20 {any} IS NULL
*12 {any} IS NOT NULL
*12 CASE WHEN {b} THEN {n} ELSE {n} END
*8 CASE WHEN {b} THEN {s} WHEN {b} THEN {lit} END
*8 CASE {i} WHEN 7 THEN 'seven' WHEN {i} THEN 'same' ELSE 'other' END
*8 CASE i4 WHEN 1, {i} THEN 'few' ELSE 'many' END
*8 IF({b}, {n}, {n})
*8 IF({n} > 1, {s}, {s})
*10 COALESCE({n}, {n}, 1)
*8 COALESCE({s}, {lit})
*8 IFNULL({n}, {n})
*6 IFNULL({s}, {s})
*8 NULLIF({n}, {n})
*6 NULLIF({s}, {s})
*8 {n} IS DISTINCT FROM {n}
*8 {s} IS NOT DISTINCT FROM {s}
*6 {b} = {b}
*6 {b} > {b}
*6 {y} = {y}
*6 {y} < {y}
*8 {n} NOT IN ({n}, {n})
*6 {s} NOT BETWEEN {s} AND {s}
*6 {n} BETWEEN SYMMETRIC {n} AND {n}
`},
	{name: "collection", zones: []string{"UTC"}, templates: `
*40 CAST({any} AS STRING)
*10 {ai}[{k}]
*6 as1[{k}]
*8 {mi}['x']
*6 {mi}[{s}]
*10 CARDINALITY({a})
*4 CARDINALITY({m})
*6 ELEMENT({a})
*8 {r}.x
*6 {r}.z.q
*8 ARRAY[{n}, {n}]
*6 ARRAY[{s}, {lit}]
*10 MAP[{s}, {n}]
*8 MAP[{s}, {n}, {s}, {n}]
*8 MAP[{i}, {s}, {i}, {lit}]
*6 ROW({n}, {s})
*4 ROW({r}, {a})
*10 ARRAY_CONTAINS({ai}, {i})
*6 ARRAY_CONTAINS(as1, {s})
*8 ARRAY_POSITION({ai}, {i})
*6 ARRAY_APPEND({ai}, {i})
*6 ARRAY_PREPEND({ai}, {i})
*6 ARRAY_REMOVE({ai}, {k})
*6 ARRAY_DISTINCT({a})
*6 ARRAY_REVERSE({a})
*6 ARRAY_CONCAT({ai}, {ai})
*6 ARRAY_UNION({ai}, {ai})
*6 ARRAY_EXCEPT({ai}, {ai})
*6 ARRAY_INTERSECT({ai}, {ai})
*8 ARRAY_MAX({a})
*8 ARRAY_MIN({a})
*6 ARRAY_JOIN(as1, {lit})
*6 ARRAY_JOIN(as1, {lit}, {lit})
*10 ARRAY_SLICE({ai}, {k})
*10 ARRAY_SLICE({ai}, {k}, {k})
*6 ARRAY_SORT({a})
*6 ARRAY_SORT({a}, {b})
*8 ARRAY_SORT({a}, {b}, {b})
*4 MAP_KEYS({m})
*4 MAP_VALUES({m})
*4 MAP_ENTRIES({m})
*6 MAP_FROM_ARRAYS({ai}, {ai})
*4 MAP_FROM_ARRAYS(as1, {a})
*6 MAP_UNION({mi}, {mi})
*4 MAP_UNION({mi}, MAP['x', {i}, 'z', {i}])
*3 {mi} = {mi}
*6 {ai} = {ai}
*3 {r} = {r}
ARRAY_MAX(ab)
ARRAY_SORT(ab)
ARRAY_DISTINCT(aa)
ARRAY_CONTAINS(aa, ARRAY[1])
aa[2][1]
CAST(aa AS STRING)
CAST(ARRAY[MAP[s1, i1]] AS STRING)
CAST(MAP[i1, ROW(s1, sn)] AS STRING)
CAST(ai AS ARRAY<STRING>)
CAST(mi AS MAP<STRING, BIGINT>)
CAST(ROW(i1, s1) AS ROW<a BIGINT, b STRING>)
`},
	{name: "cast", zones: []string{"UTC"}, templates: `
*120 TRY_CAST({any} AS {type})
*60 TRY_CAST({n} AS {number})
*60 TRY_CAST({w1} AS {number})
*40 CAST({n} AS {number})
*24 CAST({b} AS {number})
*40 TRY_CAST({q} AS {moment})
*24 CAST({s} AS {type})
*8 CAST({y} AS STRING)
*6 CAST({s} AS BYTES)
*12 CAST(CAST({n} AS STRING) AS DOUBLE)
*12 CAST(CAST({M} AS STRING) AS TIMESTAMP(3))
CAST(w2 AS TIME)
CAST(q6 AS TIME)
CAST('23' || s2 AS TIME)
CAST('7:5' || s2 AS TIME)
CAST('07:05:09.123456' || s2 AS TIME)
CAST('24:00:00' || s2 AS TIME)
TRY_CAST('24:00:00' || s2 AS TIME)
TRY_CAST('2026-1-2 3:4:5' || s2 AS TIMESTAMP(3))
TRY_CAST('2026-01-02 03:04:05.123456789' || s2 AS TIMESTAMP(6))
TRY_CAST('2026' || s2 AS DATE)
TRY_CAST('2026-13-01' || s2 AS DATE)
TRY_CAST('10000-01-01' || s2 AS DATE)
TRY_CAST('-0001-01-01' || s2 AS DATE)
TRY_CAST('nan' || s2 AS DOUBLE)
TRY_CAST('NaN' || s2 AS DOUBLE)
TRY_CAST('-NaN' || s2 AS DOUBLE)
TRY_CAST('+Infinity' || s2 AS DOUBLE)
TRY_CAST('-Infinity' || s2 AS DOUBLE)
TRY_CAST('inf' || s2 AS DOUBLE)
TRY_CAST('infinity' || s2 AS DOUBLE)
TRY_CAST('1_000' || s2 AS DOUBLE)
TRY_CAST('1e1_0' || s2 AS DOUBLE)
TRY_CAST('5d' || s2 AS DOUBLE)
TRY_CAST('5F' || s2 AS DOUBLE)
TRY_CAST('5.d' || s2 AS DOUBLE)
TRY_CAST('0x1p3' || s2 AS DOUBLE)
TRY_CAST('0x1F' || s2 AS DOUBLE)
TRY_CAST('1dd' || s2 AS DOUBLE)
TRY_CAST('--1' || s2 AS DOUBLE)
TRY_CAST('1e400' || s2 AS DOUBLE)
TRY_CAST('1e5x' || s2 AS DOUBLE)
TRY_CAST('1e+5' || s2 AS DOUBLE)
TRY_CAST('xy' || s2 AS DOUBLE)
TRY_CAST('1.5 ' || s2 AS DOUBLE)
TRY_CAST('.' || s2 AS DOUBLE)
TRY_CAST('inf' || s2 AS FLOAT)
TRY_CAST('16777217.0000001' || s2 AS FLOAT)
TRY_CAST('1e39' || s2 AS FLOAT)
TRY_CAST('5f' || s2 AS FLOAT)
TRY_CAST('1e1_0' || s2 AS DECIMAL(10, 3))
TRY_CAST('1e5xy' || s2 AS DECIMAL(10, 3))
TRY_CAST('xy' || s2 AS DECIMAL(10, 3))
TRY_CAST('1e+5' || s2 AS DECIMAL(10, 3))
TRY_CAST('nan' || s2 AS DECIMAL(10, 3))
IS_DECIMAL('nan' || s2)
IS_DECIMAL('5d' || s2)
IS_DECIMAL('1_0' || s2)
IS_DECIMAL('0x1p3' || s2)
IS_DECIMAL('Infinity' || s2)
IS_DECIMAL(' 7 ' || s2)
IS_DECIMAL('.' || s2)
TRY_CAST('x' || s2 AS DECIMAL(10, 3))
TRY_CAST('12a' || s2 AS DECIMAL(10, 3))
TRY_CAST('5-' || s2 AS DECIMAL(10, 3))
TRY_CAST('5d' || s2 AS DECIMAL(10, 3))
TRY_CAST('-x' || s2 AS DECIMAL(10, 3))
TRY_CAST('.' || s2 AS DECIMAL(10, 3))
TRY_CAST('x' || s2 AS DECIMAL(38, 3))
TRY_CAST('.' || s2 AS INT)
TRY_CAST('5.' || s2 AS INT)
`},
	{name: "moment", zones: []string{"UTC", "Europe/Berlin", "GMT+08:00"}, templates: `
*36 EXTRACT({unit} FROM {M})
*6 EXTRACT({unit} FROM {T})
*6 EXTRACT(DAY FROM {int})
*16 {named}({M})
*4 {named}({T})
*24 FLOOR({M} TO {round})
*24 CEIL({M} TO {round})
*4 FLOOR({T} TO HOUR)
*30 {M} + {int}
*20 {M} - {int}
*6 {T} + {int}
*24 TIMESTAMPADD({add}, {i}, {M})
*3 TIMESTAMPADD(HOUR, {i}, {T})
*24 TIMESTAMPDIFF({add}, {M}, {M})
*12 {M} {cmp} {M}
*20 CAST({M} AS {moment})
*6 CAST({T} AS {moment})
*16 DATE_FORMAT({P}, {form})
*12 DATE_FORMAT({L}, {form})
*8 DATE_FORMAT({q}, {form})
*24 TO_TIMESTAMP({q}, {form})
*10 TO_TIMESTAMP({q})
*20 TO_DATE({q}, {form})
*10 TO_DATE({q})
*8 TO_TIMESTAMP_LTZ({n}, 3)
*8 TO_TIMESTAMP_LTZ({n}, 0)
*6 TO_TIMESTAMP_LTZ({w})
*8 TO_TIMESTAMP_LTZ({q})
*20 TO_TIMESTAMP_LTZ({q}, {form})
*16 TO_TIMESTAMP_LTZ({q}, 'yyyy-MM-dd HH:mm:ss', {zone})
*12 UNIX_TIMESTAMP({q}, {form})
*8 UNIX_TIMESTAMP({q})
*8 FROM_UNIXTIME({w})
*8 FROM_UNIXTIME({l}, {form})
*20 CONVERT_TZ({q}, {zone}, {zone})
*6 JSON_STRING({M})
CAST(CAST(p0 AS TIMESTAMP_LTZ(3)) AS STRING)
CAST('2026-03-29 02:30:00' || s2 AS TIMESTAMP_LTZ(3))
CAST('2026-10-25 02:30:00' || s2 AS TIMESTAMP_LTZ(3))
TO_TIMESTAMP_LTZ('2026-01-02 03:04:05.12345' || s2, 'yyyy-MM-dd HH:mm:ss.SSS')
TO_TIMESTAMP('2026-01-02 03:04:05.12345' || s2, 'yyyy-MM-dd HH:mm:ss.SSS')
p4 + INTERVAL '1' DAY
p5 - INTERVAL '2' YEAR
a4 - INTERVAL '2' YEAR
a5 + INTERVAL '1' DAY
CEIL(a1 TO DAY)
CEIL(p3 TO DAY)
CEIL(a2 TO DAY)
p1 > TIMESTAMP '2026-01-02 03:04:05.678999'
z1 > TIMESTAMP '2026-01-02 03:04:05.678'
`},
	{name: "printf", zones: []string{"UTC"}, templates: `
*90 PRINTF({%i}, {i})
*30 PRINTF({%i}, {l})
*20 PRINTF({%i}, t2)
*20 PRINTF({%i}, h2)
*120 PRINTF({%f}, {d})
*30 PRINTF({%f}, {f})
*60 PRINTF({%s}, {s})
*30 PRINTF({%s}, {s}, {i})
*12 PRINTF({%s}, {b})
*12 PRINTF({%f}, {c})
*8 PRINTF({%i}, {c})
*8 PRINTF({%s}, {P})
*8 PRINTF({%s}, {L})
*8 PRINTF({%i}, {D})
*4 PRINTF({%i}, m1)
*8 PRINTF({s}, {i})
*20 PRINTF({%f}, {d} / 3)
*20 PRINTF({%f}, {d} / 1e5)
PRINTF('%f %e %g %(f', d0 / d0, d1 / d0, -d1 / d0, -d1 / d0)
PRINTF('%010f %,f %E %-12f|', d1 / d0, d1 / d0, d0 / d0, -d1 / d0)
PRINTF('%.0f %.0f %.0f %.1f %.2f', d1, d1 - 1, d1 - 2, d6 + 0.05e0, d2)
PRINTF('%d of %d: %s, %.1f%%', i1, l1, s1, d1)
PRINTF('%d')
PRINTF(sn)
PRINTF('x', i1)
PRINTF('%s', NULL)
PRINTF('%d', 5)
PRINTF('%s', INTERVAL '1' DAY)
PRINTF('%x', INTERVAL '-1' DAY)
PRINTF('%d', INTERVAL '13' MONTH)
PRINTF('%s', TIME '03:04:05')
PRINTF('%s', CAST('c' AS CHAR(3)))
PRINTF('%c', i1 + 58)
PRINTF('%5c|%-5c|%C', i1 + 58, i1 + 58, i1 + 90)
PRINTF('%c', -i1)
PRINTF('%+.0e', d4)
PRINTF('%g %g %g', d4 * 1000, d4 * 999.99999e0, d5 / 123.4e0)
PRINTF(i1, s1)
PRINTF()
`},
	{name: "construct", zones: []string{"UTC"}, templates: `
JSON_OBJECT()
JSON_OBJECT('a' VALUE 1)
JSON_OBJECT(KEY 'a' VALUE 1)
JSON_OBJECT('a', 1)
JSON_OBJECT('b' VALUE i1, 'a' VALUE s9)
JSON_OBJECT('a' VALUE sn)
JSON_OBJECT('a' VALUE sn NULL ON NULL)
JSON_OBJECT('a' VALUE sn, 'b' VALUE i1 ABSENT ON NULL)
JSON_OBJECT(s1 VALUE i1)
JSON_OBJECT(sn VALUE i1)
JSON_OBJECT('a' VALUE CAST(NULL AS INT))
JSON_OBJECT('a' VALUE NULL)
JSON_OBJECT('a' VALUE JSON_OBJECT('b' VALUE i1))
JSON_OBJECT('a' VALUE JSON_ARRAY(i1, s1))
JSON_OBJECT('a' VALUE JSON_QUERY(j1, '$.c'))
JSON_OBJECT('a' VALUE JSON_STRING(i1))
JSON_OBJECT('a' VALUE JSON(j1))
JSON_OBJECT('a' VALUE JSON(j2))
JSON_OBJECT('a' VALUE JSON(j3))
JSON_OBJECT('a' VALUE JSON(sn))
JSON_OBJECT('a' VALUE JSON(s2))
JSON_OBJECT('a' VALUE JSON(JSON_OBJECT('b' VALUE 1)))
JSON(j1)
JSON_ARRAY(JSON(j1))
JSON_OBJECT('a' VALUE j1)
JSON_OBJECT('a' VALUE CAST(JSON_OBJECT('b' VALUE 1) AS STRING))
JSON_OBJECT('a' VALUE 1, 'a' VALUE 2)
JSON_OBJECT('k' VALUE bt, 't' VALUE t1, 'h' VALUE h1, 'l' VALUE l1, 'f' VALUE f1, 'd' VALUE d1, 'c' VALUE c1)
JSON_OBJECT('f2' VALUE f2, 'f3' VALUE f3, 'd3' VALUE d3, 'd4' VALUE d4, 'd5' VALUE d5, 'c3' VALUE c3, 'c2' VALUE c2, 'c4' VALUE c4)
JSON_OBJECT('y' VALUE y1)
JSON_OBJECT('a' VALUE a1)
JSON_OBJECT('a' VALUE m1)
JSON_OBJECT('a' VALUE p0, 'b' VALUE p1, 'c' VALUE p2, 'd' VALUE z1, 'e' VALUE z2, 'f' VALUE z0)
JSON_OBJECT('a' VALUE ai, 'b' VALUE aa, 'c' VALUE as1)
JSON_OBJECT('a' VALUE mi)
JSON_OBJECT('a' VALUE r1, 'b' VALUE r2)
JSON_OBJECT('a' VALUE rn ABSENT ON NULL)
JSON_OBJECT('a' VALUE INTERVAL '1' DAY)
JSON_OBJECT('a' VALUE d0 / d0)
JSON_OBJECT('a' VALUE ARRAY[sn, s1] ABSENT ON NULL)
JSON_OBJECT('é"' VALUE s4, '/' VALUE s9)
JSON_OBJECT(i1 VALUE 1)
JSON_OBJECT('a' VALUE 'x', 'b' VALUE 1.50, 'c' VALUE 1e3, 'd' VALUE TRUE)
JSON_ARRAY()
JSON_ARRAY(1, 'a', 1.5)
JSON_ARRAY(sn, i1)
JSON_ARRAY(sn, i1 NULL ON NULL)
JSON_ARRAY(sn, i1 ABSENT ON NULL)
JSON_ARRAY(NULL)
JSON_ARRAY(NULL NULL ON NULL)
JSON_ARRAY(JSON_ARRAY(1), JSON_OBJECT('a' VALUE 1), j1)
JSON_ARRAY(a1, p1, y1)
JSON_ARRAY(CASE WHEN bt THEN JSON_ARRAY(1) END)
JSON_ARRAY(UPPER(JSON_ARRAY('a')))
JSON_STRING(JSON_OBJECT('a' VALUE 1))
JSON_OBJECT('z' VALUE 1, 'y' VALUE 2, 'x' VALUE 3)
JSON_OBJECT(NULL VALUE 1)
JSON_OBJECT('f' VALUE JSON('null'))
JSON_OBJECT('f' VALUE JSON('null') ABSENT ON NULL)
JSON_OBJECT('f' VALUE JSON(sn) ABSENT ON NULL)
MD5(y1)
MD5(y2)
MD5(yn)
SHA1(y1)
SHA224(y1)
SHA256(y1)
SHA384(y1)
SHA512(y1)
SHA2(y1, 256)
MD5(NULL)
TYPEOF(i1)
TYPEOF(i1, TRUE)
TYPEOF(i1, FALSE)
TYPEOF(1)
TYPEOF(s1)
TYPEOF(NULL)
TYPEOF(c1)
TYPEOF(c1 + 1)
TYPEOF(p1)
TYPEOF(z1)
TYPEOF(m1)
TYPEOF(y1)
TYPEOF(ai)
TYPEOF(mi)
TYPEOF(r1)
TYPEOF(r1, TRUE)
TYPEOF(ARRAY[1, 2])
TYPEOF(INTERVAL '1' DAY)
TYPEOF(INTERVAL '1' MONTH)
TYPEOF(INTERVAL '1 02' DAY TO HOUR)
TYPEOF(p2)
TYPEOF(a1)
TYPEOF(1.5)
TYPEOF(1e0)
TYPEOF(DATE '2026-01-01')
TYPEOF(TIMESTAMP '2026-01-01 00:00:00.123')
TYPEOF(t1 + 1, TRUE)
(p1, INTERVAL '1' HOUR) OVERLAPS (p1 + INTERVAL '30' MINUTE, INTERVAL '1' HOUR)
(p1, INTERVAL '1' HOUR) OVERLAPS (p1 + INTERVAL '1' HOUR, INTERVAL '1' HOUR)
(p1, p1 + INTERVAL '1' HOUR) OVERLAPS (p1 + INTERVAL '1' HOUR, p1 + INTERVAL '2' HOUR)
(p1, p1) OVERLAPS (p1, p1)
(p1, p1) OVERLAPS (p1 - INTERVAL '1' HOUR, p1)
(p1 + INTERVAL '1' HOUR, p1) OVERLAPS (p1 + INTERVAL '30' MINUTE, p1 + INTERVAL '2' HOUR)
(p1, INTERVAL '-1' HOUR) OVERLAPS (p1 - INTERVAL '30' MINUTE, p1)
(a1, a1) OVERLAPS (a1, a1)
(a1, INTERVAL '1' DAY) OVERLAPS (a1 + INTERVAL '1' DAY, INTERVAL '1' DAY)
(m1, INTERVAL '1' HOUR) OVERLAPS (m1, INTERVAL '1' HOUR)
(m2, m1) OVERLAPS (m1, m2)
(pn, p1) OVERLAPS (p1, p1)
(p1, pn) OVERLAPS (p1, p1)
(p1, p1) OVERLAPS (p1, pn)
(z1, INTERVAL '1' HOUR) OVERLAPS (z1, INTERVAL '1' HOUR)
(z1, z1) OVERLAPS (z1, z3)
(i1, i2) OVERLAPS (i1, i2)
(p1, z1) OVERLAPS (p1, p1)
(a1, a1) OVERLAPS (p1, p1)
NOT (p1, p1) OVERLAPS (p1, p1)
(p1, p1) OVERLAPS (p1, p1) AND bt
CASE i1 WHEN 7, 8 THEN 'few' ELSE 'many' END
`},
}
