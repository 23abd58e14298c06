package flink

import (
	"errors"
	"strings"
	"testing"
)

// windowPlan is the EXPLAIN of pipelines/per_minute.sql in Flink 2.2.1.
const windowPlan = `== Abstract Syntax Tree ==
LogicalSink(table=[default_catalog.default_database.device_per_minute], fields=[a])

== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.device_per_minute], fields=[device_id, sensor, window_start, window_end, EXPR$4, EXPR$5])
+- Calc(select=[device_id, sensor, window_start, window_end, EXPR$4, EXPR$5])
   +- GlobalWindowAggregate(groupBy=[device_id, sensor], window=[TUMBLE(slice_end=[$slice_end], size=[1 min])], select=[device_id, sensor, COUNT(count1$0) AS EXPR$4, AVG((sum$3, count$4)) AS EXPR$5, start('w$) AS window_start, end('w$) AS window_end])
      +- Exchange(distribution=[hash[device_id, sensor]])
         +- LocalWindowAggregate(groupBy=[device_id, sensor], window=[TUMBLE(time_col=[ts], size=[1 min])], select=[device_id, sensor, COUNT(*) AS count1$0, AVG(value) AS (sum$3, count$4), slice_end('w$) AS $slice_end])
            +- Calc(select=[device_id, sensor, value, ts], where=[(sensor = 'a, b')])
               +- TableSourceScan(table=[[default_catalog, default_database, readings, watermark=[-(ts, 5000:INTERVAL SECOND)], watermarkEmitStrategy=[on-periodic]]], fields=[device_id, sensor, value, unit, ts, seq])
`

func TestComparePlans(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		want           string // in the report; empty if the state fits
		note           string
	}{
		{"the same", "", "", "", ""},
		{"a result's column", "Calc(select=[device_id, sensor, window_start, window_end, EXPR$4, EXPR$5])", "Calc(select=[device_id, sensor, window_start, window_end, EXPR$4, ROUND(EXPR$5, 2) AS EXPR$5])", "", ""},
		{"a window's end more", ", end('w$) AS window_end]", "]", "", ""},
		{"a name", "COUNT(count1$0) AS EXPR$4", "COUNT(count1$0) AS n", "", ""},
		{"the watermark", "5000:INTERVAL", "9000:INTERVAL", "", ""},
		{"the filter before", "'a, b'", "'c'", "", "rows of both versions"},
		{"the window's size", "size=[1 min]", "size=[2 min]", "changed: GlobalWindowAggregate", ""},
		{"an aggregate", "AVG((sum$3, count$4))", "SUM(sum$3)", "to: GlobalWindowAggregate", ""},
		{"the keys", "groupBy=[device_id, sensor]", "groupBy=[device_id]", "changed: GlobalWindowAggregate", ""},
		{"the table that is read", "default_database, readings,", "default_database, others,", "changed: TableSourceScan", ""},
		{"an operator less", "+- Calc(select=[device_id, sensor, window_start, window_end, EXPR$4, EXPR$5])\n   ", "", "moved:", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := strings.ReplaceAll(windowPlan, c.old, c.new)
			if c.old != "" && now == windowPlan {
				t.Fatal("the case changes nothing")
			}
			notes, err := ComparePlans(windowPlan, now)
			var changed *ChangedError
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && !errors.As(err, &changed):
				t.Errorf("error %v, want a report", err)
			case c.want != "" && !strings.Contains(changed.Report, c.want):
				t.Errorf("report without %q:\n%s", c.want, changed.Report)
			}
			if noted := strings.Join(notes, "\n"); (noted != "") != (c.note != "") || !strings.Contains(noted, c.note) {
				t.Errorf("notes %q, want %q", notes, c.note)
			}
		})
	}
	if _, err := ComparePlans(windowPlan, "nothing"); err == nil {
		t.Error("a text that is no plan passes")
	}
}
