package conformance

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/plan"
)

// TestDifferencesAreExplained keeps docs/reference/flink-differences.md in step: it explains what weir check names and what
// testdata/known lists, and nothing that nobody names.
func TestDifferencesAreExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/reference/flink-differences.md")
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
	named = append(named, "nan-and-zero") // is seen in values only
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

// TestCheckNamesDifferences has each difference of weir check in a pipeline, where it is.
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
`
	p, err := plan.Compile(text, "all")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"dead-letters": 1, "group-changes": 5, "variance": 5, "window-offsets": 6, "late-rows": 6, "watermarks": 6, "first-and-last": 6,
		"sessions-again": 7, "lookup-deletes": 8, "regular-expressions": 9, "json-returning": 9, "moving-sums": 10, "lag-default": 11, "distinct-rows": 12, "state-ttl": 13, "max-ahead": 18,
		"key-partitioning": 14,
		"lengths":          15, "null-headers": 15, "averages-over": 16, "time-zones": 17, "misplaced-values": 4, "missing-keys": 4,
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
