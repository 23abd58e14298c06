package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// tables precedes each query of testdata and counts as one line.
const tables = "CREATE TABLE readings (device_id STRING, sensor STRING, `value` DOUBLE, n INT, price DECIMAL(10, 2), tags ARRAY<STRING>, place ROW<lat DOUBLE, lon DOUBLE>, ts TIMESTAMP_LTZ(3), whole_day AS CAST(ts AS DATE), pos BIGINT METADATA FROM 'offset' VIRTUAL, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json'); " +
	"CREATE TABLE plain (device_id STRING, x INT, moment TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'plain', 'format' = 'json'); " +
	"CREATE TABLE devices (device_id STRING, site STRING, changed TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR changed AS changed, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'raw', 'value.format' = 'json'); " +
	"CREATE TABLE s1 (a STRING) WITH ('connector' = 'kafka', 'topic' = 's1', 'format' = 'json'); " +
	"CREATE TABLE s2 (a STRING, b BIGINT) WITH ('connector' = 'kafka', 'topic' = 's2', 'format' = 'json'); " +
	"CREATE TABLE u2 (a STRING, b BIGINT, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'u2', 'key.format' = 'json', 'value.format' = 'json'); " +
	"CREATE TABLE w3 (a STRING, s TIMESTAMP(3), b BIGINT) WITH ('connector' = 'kafka', 'topic' = 'w3', 'format' = 'json');\n"

// TestPlans runs testdata. "plan" compiles statements after the tables above, and "alone" without
// them: the output is the plan as text, or the error. "signatures" compiles after the tables and
// prints the signature of each relation that keeps state.
func TestPlans(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string {
			text := d.Input
			if d.Cmd != "alone" {
				text = tables + text
			}
			p, err := Compile(text, "test")
			if err != nil {
				return err.Error() + "\n"
			}
			if d.Cmd == "signatures" {
				return signatures(p)
			}
			return p.Text()
		})
	})
}

func signatures(p *Program) string {
	var b strings.Builder
	for _, s := range p.Stages {
		for _, r := range s.Relations {
			if r.State > 0 {
				fmt.Fprintf(&b, "%s %d: %s\n", s.Name, r.State, r.Signature())
			}
		}
	}
	return b.String()
}

// TestSharedViews compiles views that each read the one before twice. Planning visits each relation
// a limited number of times: once for each path to it, it would not end.
func TestSharedViews(t *testing.T) {
	var views strings.Builder
	views.WriteString("CREATE VIEW v0 AS SELECT device_id AS d, n FROM readings;\n")
	const count = 64
	for i := 1; i <= count; i++ {
		fmt.Fprintf(&views, "CREATE VIEW v%d AS SELECT d, n FROM v%[2]d UNION ALL SELECT d, n + 1 FROM v%[2]d;\n", i, i-1)
	}
	last := fmt.Sprintf("v%d", count)
	for _, query := range []string{
		"INSERT INTO s1 SELECT d FROM " + last,
		"INSERT INTO u2 SELECT d, COUNT(*) FROM " + last + " GROUP BY d",
		"INSERT INTO u2 SELECT d, COUNT(*) FROM " + last + " WHERE n > (SELECT MAX(n) FROM readings) GROUP BY d",
		"INSERT INTO u2 SELECT a.d, COUNT(*) FROM " + last + " AS a LEFT JOIN " + last + " AS b ON a.d = b.d GROUP BY a.d",
	} {
		p, err := Compile(tables+"SET 'table.exec.state.ttl' = '1 h';\n"+views.String()+query, "test")
		if err != nil {
			t.Fatal(err)
		}
		if again := p.Continue(p); len(again.Lost) > 0 {
			t.Errorf("%s: the same plan loses state %v", query, again.Lost)
		}
		unions := 0
		p.visit(func(r *Relation) {
			if _, ok := r.Op.(*Union); ok {
				unions++
			}
			for i := range r.Inputs {
				if home := r.Home(i); home != nil && home.Tables[0].Name != "readings" {
					t.Errorf("%s: state of %s is placed by the keys of %s", query, r.Describe(), home.Tables[0].Name)
				}
			}
			if r.State > 0 && len(r.Costs()) == 0 {
				t.Errorf("%s: no costs of %s", query, r.Describe())
			}
		})
		if unions != count {
			t.Errorf("%s: %d unions, expected %d", query, unions, count)
		}
	}
}
