package conformance

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir.example/weir/internal/plan"
)

// TestDifferencesAreExplained checks that docs/reference/flink-differences.md explains exactly the
// differences that weir check reports and testdata lists.
func TestDifferencesAreExplained(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/flink-differences.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for _, m := range regexp.MustCompile(`(?m)^### (.+)$`).FindAllStringSubmatch(string(text), -1) {
		explained = append(explained, m[1])
	}
	listed := readKnown(t).names()
	named := append(plan.DifferenceNames(), listed...)
	for _, reason := range readReasons(t) {
		if !slices.Contains(named, reason) {
			named = append(named, reason)
		}
	}
	named = append(named, "nan-and-zero") // visible only in values
	for _, name := range named {
		if !slices.Contains(explained, name) {
			t.Errorf("%s is not explained", name)
		}
	}
	for _, name := range explained {
		if !slices.Contains(named, name) {
			t.Errorf("%s is explained, and neither weir check nor testdata/known names it", name)
		}
	}
}

// TestCheckNamesDifferences checks that weir check reports each difference at its position.
func TestCheckNamesDifferences(t *testing.T) {
	const text = `CREATE TABLE r (d STRING, v DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
CREATE TABLE s (d STRING, at_ TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR at_ AS at_, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 's', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE k (d STRING, v DOUBLE, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'k', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE m (d STRING, v CHAR(3), h MAP<STRING, BYTES> METADATA FROM 'headers') WITH ('connector' = 'kafka', 'topic' = 'm', 'key.format' = 'json', 'key.fields' = 'd', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY', 'value.json.ignore-parse-errors' = 'true'); CREATE TABLE u (d STRING) WITH ('connector' = 'kafka', 'topic' = 'u', 'format' = 'json'); CREATE TABLE o (v DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'o', 'format' = 'json');
INSERT INTO k SELECT d, STDDEV_POP(v) FROM r GROUP BY d;
INSERT INTO o SELECT LAST_VALUE(v) FROM TABLE(HOP(TABLE r, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' SECOND, INTERVAL '1' SECOND)) GROUP BY window_start, window_end;
INSERT INTO o SELECT SUM(v) FROM (SELECT MAX(v) AS v, window_start, window_end FROM TABLE(SESSION(TABLE r PARTITION BY d, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY d, window_start, window_end) GROUP BY window_start, window_end;
INSERT INTO o SELECT r.v FROM r JOIN s FOR SYSTEM_TIME AS OF r.ts AS s ON r.d = s.d;
INSERT INTO o SELECT JSON_VALUE(d, '$.a' RETURNING DOUBLE) FROM r WHERE REGEXP(d, 'a+');
INSERT INTO o SELECT SUM(v) OVER (PARTITION BY d ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM r;
INSERT INTO o SELECT LAG(v, 1, 0e0) OVER (PARTITION BY d ORDER BY ts) FROM r;
INSERT INTO u SELECT DISTINCT d FROM r;
SET 'table.exec.state.ttl' = '1 d';
CREATE TABLE h (d STRING) WITH ('connector' = 'kafka', 'topic' = 'h', 'key.format' = 'raw', 'key.fields' = 'd', 'format' = 'json'); INSERT INTO u SELECT DISTINCT d FROM h;
INSERT INTO m SELECT d, d, h FROM m WHERE v = 'abc';
INSERT INTO u SELECT CAST(AVG(CHAR_LENGTH(d)) OVER (PARTITION BY d ORDER BY ts) AS STRING) FROM r;
SET 'table.local-time-zone' = 'UTC+8';
SET 'weir.watermark.max-ahead' = '1 h';
INSERT INTO u SELECT CONVERT_TZ(d, 'Europe/Berlin', 'UTC') FROM r;
CREATE VIEW l AS SELECT d, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY d ORDER BY ts DESC) AS n FROM r) WHERE n = 1; INSERT INTO u SELECT r.d FROM r JOIN l FOR SYSTEM_TIME AS OF r.ts AS l ON r.d = l.d;
INSERT INTO u SELECT LISTAGG(DISTINCT d) FROM TABLE(HOP(TABLE r, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' SECOND)) GROUP BY window_start, window_end;
INSERT INTO u SELECT LISTAGG(d) FROM TABLE(HOP(TABLE r, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' SECOND)) GROUP BY window_start, window_end;
INSERT INTO u SELECT JSON_OBJECTAGG(d VALUE v) FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end;
INSERT INTO u SELECT UUID() FROM r WHERE ts > CURRENT_WATERMARK(ts); INSERT INTO u SELECT a FROM (SELECT d AS a, d AS b, d AS c, v, ts, v + 1 FROM r QUALIFY LAG(v) OVER (PARTITION BY d ORDER BY ts) > 1);
CREATE TABLE j (a ARRAY<STRING>) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 'j'); INSERT INTO j SELECT ARRAY[d] FROM r;
CREATE TABLE q (a STRING) WITH ('connector' = 'jdbc', 'url' = 'jdbc:sqlite:q.db', 'table-name' = 'q'); INSERT INTO q SELECT d FROM r;
CREATE TABLE f (d STRING) WITH ('connector' = 'filesystem', 'path' = '/f', 'format' = 'parquet'); INSERT INTO f SELECT d FROM r;
CREATE TABLE x (d STRING) WITH ('connector' = 'print'); INSERT INTO x SELECT d FROM r;
CREATE TABLE i (v DOUBLE, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'influxdb', 'url' = 'http://h', 'measurement' = 'm'); INSERT INTO i SELECT v, ts FROM r;
CREATE TABLE z (d STRING, p AS PROCTIME()) WITH ('connector' = 'kafka', 'topic' = 'z', 'format' = 'json'); CREATE TABLE y (d STRING) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 'y'); INSERT INTO u SELECT z.d FROM z JOIN y FOR SYSTEM_TIME AS OF z.p AS y ON z.d = y.d;
CREATE TABLE g (d STRING) WITH ('connector' = 'datagen'); INSERT INTO x SELECT d FROM g;
CREATE TABLE n (d STRING, v DOUBLE, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'n', 'key.format' = 'json', 'value.format' = 'json'); INSERT INTO n SELECT h.d, l.n FROM (SELECT DISTINCT d FROM h) AS h, LATERAL (SELECT MAX(v) AS n FROM r WHERE r.d = h.d) AS l;
INSERT INTO u SELECT LISTAGG(d) OVER (PARTITION BY d ORDER BY p RANGE BETWEEN INTERVAL '1' SECOND PRECEDING AND CURRENT ROW) FROM z;
INSERT INTO u SELECT d FROM TABLE(TUMBLE(TABLE z, DESCRIPTOR(p), INTERVAL '1' SECOND)) GROUP BY d, window_start, window_end;
CREATE TABLE b (m MULTISET<STRING>) WITH ('connector' = 'kafka', 'topic' = 'b', 'format' = 'json'); INSERT INTO u SELECT v || CAST(m AS STRING) FROM b CROSS JOIN UNNEST(m) AS e (v);
CREATE VIEW v AS SELECT d, MAX(v) AS v, window_start AS ws, window_end AS we FROM TABLE(SESSION(TABLE r PARTITION BY d, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY d, window_start, window_end; INSERT INTO o SELECT a.v FROM v AS a JOIN v AS c ON a.d = c.d AND a.ws = c.ws AND a.we = c.we;
INSERT INTO k SELECT d, v FROM k WHERE v > 5 OR d IN (SELECT d FROM r);
`
	p, err := plan.Compile(text, "all")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"dead-letters": 1, "group-changes": 5, "variance": 5, "window-offsets": 6, "late-rows": 6, "watermarks": 6, "first-and-last": 6,
		"sessions-again": 7, "lookup-deletes": 8, "lookup-order": 20, "regular-expressions": 9, "json-returning": 9, "moving-sums": 10, "lag-default": 11, "distinct-rows": 12, "state-ttl": 13, "max-ahead": 18,
		"key-partitioning": 14, "local-times": 19,
		"lengths": 15, "null-headers": 15, "averages-over": 16, "time-zones": 17, "misplaced-values": 4, "missing-keys": 4,
		"distinct-lists": 21, "list-order": 22, "repeated-keys": 23, "transaction-time": 24, "current-watermark": 24, "qualify-columns": 24,
		"database-guarantee": 25, "database-types": 25, "sqlite": 26, "files": 27, "print": 28, "more-connectors": 29, "lookup-time": 30, "datagen": 31, "lateral-aggregates": 32,
		"peers-of-processing-time": 33, "windows-of-processing-time": 34, "multiset-elements": 35, "multiset-order": 35,
		"joined-sessions": 36, "empty-queries": 37,
	}
	var names []string
	for _, d := range p.Differences {
		names = append(names, d.Name)
		if d.Line != want[d.Name] || d.Column < 1 || strings.TrimSpace(d.Message) == "" {
			t.Errorf("%s at %d:%d, want line %d: %q", d.Name, d.Line, d.Column, want[d.Name], d.Message)
		}
	}
	slices.Sort(names)
	if all := plan.DifferenceNames(); !slices.Equal(names, all) {
		t.Errorf("found %v, want %v", names, all)
	}
}

// TestCheckNamesLocalTimes checks that weir check reports each place where a local time may be
// ambiguous or nonexistent in the zone.
func TestCheckNamesLocalTimes(t *testing.T) {
	const tables = `CREATE TABLE r (d STRING, plain TIMESTAMP(3), day_ DATE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
CREATE TABLE u (d STRING) WITH ('connector' = 'kafka', 'topic' = 'u', 'format' = 'json');
CREATE TABLE i (t TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'i', 'format' = 'json');
CREATE TABLE w (t TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'w', 'format' = 'json');
`
	for query, want := range map[string][]int{ // columns of the reported local times
		"INSERT INTO u SELECT d FROM r":                                                                      nil,
		"INSERT INTO i SELECT ts FROM r":                                                                     nil,
		"INSERT INTO i SELECT plain FROM r":                                                                  {1},
		"INSERT INTO i SELECT CAST(day_ AS TIMESTAMP_LTZ(3)) FROM r":                                         {22},
		"INSERT INTO w SELECT ts FROM r":                                                                     {1},
		"INSERT INTO i SELECT CAST(plain AS TIMESTAMP_LTZ(3)) FROM r":                                        {22},
		"INSERT INTO i SELECT TRY_CAST(d AS TIMESTAMP_LTZ(3)) FROM r":                                        {22},
		"INSERT INTO w SELECT CAST(ts AS TIMESTAMP(3)) FROM r":                                               {22},
		"INSERT INTO u SELECT d FROM r WHERE ts > plain":                                                     {40},
		"INSERT INTO u SELECT d FROM r WHERE ts > CAST(plain AS TIMESTAMP_LTZ(3)) AND UNIX_TIMESTAMP(d) > 0": {42, 78},
		"INSERT INTO i SELECT TO_TIMESTAMP_LTZ(d, 'yyyy-MM-dd HH:mm:ss', 'Europe/Berlin') FROM r":            {22},
		"INSERT INTO i SELECT TO_TIMESTAMP_LTZ(d, 'yyyy-MM-dd HH:mm:ss', 'UTC') FROM r":                      nil,
		"INSERT INTO u SELECT CONVERT_TZ(d, d, 'UTC') FROM r":                                                {22},
		"INSERT INTO w SELECT window_start FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end":  {40},
		"INSERT INTO w SELECT window_start FROM TABLE(SESSION(TABLE r, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end": {40},
		"INSERT INTO i SELECT plain FROM r UNION ALL SELECT ts FROM r":                                                                        {1, 35},
		"INSERT INTO i SELECT COALESCE(ts, plain) FROM r":                                                                                     {22},
	} {
		for zone, columns := range map[string][]int{"Europe/Berlin": want, "Asia/Kolkata": nil} {
			if strings.Contains(query, "_TZ(") || strings.Contains(query, "'Europe") {
				columns = want
			}
			p, err := plan.Compile("SET 'table.local-time-zone' = '"+zone+"';\n"+tables+query+";", "local")
			if err != nil {
				t.Errorf("%s: %v", query, err)
				continue
			}
			var got []int
			for _, d := range p.Differences {
				if d.Name == "local-times" && d.Line == 6 {
					got = append(got, d.Column)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, columns) {
				t.Errorf("%s in %s: local times at columns %v, want %v", query, zone, got, columns)
			}
		}
	}
}
