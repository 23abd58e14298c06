package metamorphic

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/sqltest"
)

// TestMetamorphic generates pipelines and runs each with several variants, which must give the same
// rows. METAMORPHIC is the duration, such as 1h; METAMORPHIC_SEED runs a single case.
func TestMetamorphic(t *testing.T) {
	c := Config{Seed: 1 + rand.Uint64N(1_000_000_000), Duration: 40 * time.Second} //nolint:gosec // test data
	if testing.Short() {
		c.Duration = 5 * time.Second
	}
	if s := os.Getenv("METAMORPHIC"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		c.Duration = d
	}
	if s := os.Getenv("METAMORPHIC_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		c.Seed, c.Cases = seed, 1
	}
	t.Logf("seeds from %d, for %s", c.Seed, c.Duration)
	c.Found = func(f Failure) { t.Errorf("%s", f) }
	told := time.Now()
	c.Progress = func(r Report) {
		if time.Since(told) > 30*time.Second {
			told = time.Now()
			t.Logf("%s", r)
		}
	}
	r := Run(c)
	t.Logf("%s\n%s", r, featuresOf(r))
	if c.Cases == 0 && r.Rejected > r.Cases {
		t.Errorf("the planner rejected %d queries of %d pipelines: the generator does not match its grammar", r.Rejected, r.Cases)
	}
}

func featuresOf(r Report) string {
	var all []string
	for _, f := range sortedKeys(r.Features) {
		all = append(all, fmt.Sprintf("%s %d", f, r.Features[f]))
	}
	return strings.Join(all, ", ")
}

// The generator covers most features within the first cases.
func TestFeatures(t *testing.T) {
	all := make(map[string]bool)
	for seed := range uint64(400) {
		g := newGenerator(rand.New(rand.NewPCG(seed, 1))) //nolint:gosec // test data
		g.generate()
		for f := range g.features {
			all[f] = true
		}
	}
	for _, f := range []string{
		"projection", "rows that fail", "group", "group of groups", "windows", "windows again", "Top-N", "Top-N of windows", "last row of a key", "first row of a key", "DISTINCT", "OVER", "grouping sets", "chain",
		"view", "UNION ALL", "UNNEST", "lookup", "upserts", "HAVING", "FILTER", "DISTINCT aggregate", "TUMBLE", "HOP", "CUMULATE", "SESSION", "change of clocks", "WHERE over a window", "query as a value", "IN as a value", "join with VALUES", "grouping sets without a window",
	} {
		if !all[f] {
			t.Errorf("no case covers %s", f)
		}
	}
}

// orderOfPartitions is a case whose rows depend on the order in which partitions are read, with
// many irrelevant parts.
func orderOfPartitions() Case {
	c := Case{SQL: `CREATE TABLE t (id BIGINT, k STRING, v INT, w ARRAY<INT>, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
WITH ('connector' = 'kafka', 'topic' = 't', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE VIEW several AS SELECT id, k, v, ts FROM t WHERE v > 0 OR v IS NOT NULL;
CREATE TABLE o (k STRING, n BIGINT, last_ BIGINT, total INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'o', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE p (id BIGINT, v INT) WITH ('connector' = 'kafka', 'topic' = 'p', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
INSERT INTO o SELECT k, COUNT(*) AS n, LAST_VALUE(id) AS last_, SUM(v) FILTER (WHERE v > 2) AS total FROM several GROUP BY k;
INSERT INTO p SELECT id, v FROM several WHERE v < 3;
`}
	for i := range 40 {
		c.Sends = append(c.Sends, Send{Topic: "t", Partition: int32((40 - i) % 4), Row: fmt.Sprintf(`{"id":%d,"k":"%c","v":%d,"w":[1],"ts":"2026-01-01 00:00:%02d"}`, i, 'a'+i%2, i%5, i)}) //nolint:gosec // small number
	}
	return c
}

// A difference is found and shrunk to little more than its cause.
func TestFindsAndShrinks(t *testing.T) {
	var variants []Variant
	for seed := range int64(10) {
		variants = append(variants, Variant{Options: dryrun.Options{Partitions: 4, Crash: true, MaxFired: 2, Seed: 1 + seed}, Keys: Undeclared})
	}
	f, _, _ := try(orderOfPartitions(), variants)
	if f == nil || f.Kind != "rows" {
		t.Fatalf("got failure %v, want differing rows", f)
	}
	shrink(f)
	if n := len(f.Case.Sends); n != 2 {
		t.Errorf("got %d records after shrinking, want 2", n)
	}
	for _, gone := range []string{"COUNT", "SUM", "INTO p", "WHERE", "ARRAY", "FILTER"} {
		if strings.Contains(f.Case.SQL, gone) {
			t.Errorf("%s was not removed from\n%s", gone, f.Case.SQL)
		}
	}
	if v := f.Variant; v.Crash || v.MaxFired != 0 {
		t.Errorf("failing variant is %s, want one without a crash", v)
	}
	if r := weirTest(t, *f); r.Error != "" {
		t.Errorf("weir test: %+v", r)
	}
}

// weirTest runs the files of a failure.
func weirTest(t *testing.T, f Failure) sqltest.Result {
	t.Helper()
	dir := t.TempDir()
	pipeline, test := f.Files()
	for name, text := range map[string]string{"metamorphic.sql": pipeline, "metamorphic.case": test} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	results, err := sqltest.Dir(dir, false)
	if err != nil || len(results) != 1 {
		t.Fatalf("%v, %d results", err, len(results))
	}
	return results[0]
}

// weir test can read the files of any failure.
func TestPrintsTests(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // test data
		c := newGenerator(random).generate()
		for _, v := range variantsOf(c, random)[:3] {
			if r := weirTest(t, Failure{Case: c, Variant: v, Kind: "rows"}); r.Error != "" || r.Diff != "" {
				t.Errorf("seed %d, %s: %s%s", seed, v, r.Error, r.Diff)
			}
		}
	}
}

func TestWithout(t *testing.T) {
	for row, want := range map[string]string{
		`{"a":1,"b":{"a":2},"c":-0.0}`: `{"b":{"a":2},"c":-0.0}`,
		`{"b":[1,{"a":2}],"a":null}`:   `{"b":[1,{"a":2}]}`,
		`{"a":1`:                       `{"a":1`,
		`null`:                         `null`,
	} {
		if got := without(row, "a"); got != want {
			t.Errorf("%s without a: got %s, want %s", row, got, want)
		}
	}
}

// Rows are compared up to what no order of additions and no plan can promise, and no further.
func TestDifference(t *testing.T) {
	for _, tt := range []struct {
		name      string
		want, got []string
		equal     bool
	}{
		{"the order of additions", []string{`{"c":2.4166666666666665}`}, []string{`{"c":2.416666666666667}`}, true},
		{"of larger numbers", []string{`{"c":2903.6666666666665}`}, []string{`{"c":2903.666666666667}`}, true},
		{"another scale", []string{`{"c":1.50}`}, []string{`{"c":1.5}`}, false},
		{"another number", []string{`{"c":2.4166666666666665}`}, []string{`{"c":2.4166666676666665}`}, false},
		{"exact numbers", []string{`{"c":2.5}`}, []string{`{"c":2.25}`}, false},
		{"as often", []string{`{"c":1}`, `{"c":1}`}, []string{`{"c":1}`}, false},
	} {
		if d := difference(tt.want, tt.got); (d == "") != tt.equal {
			t.Errorf("%s:\n%s", tt.name, d)
		}
	}
	for _, tt := range []struct {
		name      string
		want, got []string
		equal     bool
	}{
		{"a column that nothing needs", []string{`{"id":1,"s":""} # r`, `{"id":2,"s":""} # r`}, []string{`{"s":""} # r`, `{"id":2,"s":""} # r`}, true},
		{"two equal ones", []string{`{"id":1,"s":""} # r`, `{"id":2,"s":""} # r`}, []string{`{"s":""} # r`, `{"s":""} # r`}, true},
		{"another value", []string{`{"id":1,"s":""} # r`}, []string{`{"s":"x"} # r`}, false},
		{"another reason", []string{`{"id":1,"s":""} # r`}, []string{`{"s":""} # other`}, false},
		{"one is missing", []string{`{"id":1,"s":""} # r`, `{"id":2,"s":""} # r`}, []string{`{"s":""} # r`}, false},
		{"not a row", []string{`x # r`}, []string{`y # r`}, false},
	} {
		if d := difference(pruned(tt.want, tt.got), tt.got); (d == "") != tt.equal {
			t.Errorf("dead letters, %s:\n%s", tt.name, d)
		}
	}
}
