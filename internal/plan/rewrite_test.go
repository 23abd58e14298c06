package plan

import (
	"slices"
	"strings"
	"testing"
)

// TestPushFilters checks where a WHERE ends up: as close to the scan as the operators in between
// allow, and not below one that would change its meaning.
func TestPushFilters(t *testing.T) {
	const windows = "TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))"
	for _, c := range []struct {
		name, query string
		filters     []string // operators that filter, sinks first
	}{
		{"scan", "INSERT INTO s1 SELECT device_id FROM readings WHERE n > 1", []string{"Scan"}},
		{"projection", "INSERT INTO s1 SELECT d FROM (SELECT device_id AS d, n + 1 AS m FROM readings) WHERE m > 1", []string{"Scan"}},
		{"window", "INSERT INTO s1 SELECT device_id FROM " + windows + " WHERE n > 1", []string{"Scan"}},
		{"window column", "INSERT INTO s1 SELECT device_id FROM " + windows + " WHERE window_start > TIMESTAMP '2026-01-01 00:00:00'", []string{"Filter"}},
		{"aggregate", "INSERT INTO w3 SELECT device_id, window_start, COUNT(*) FROM " + windows + " GROUP BY device_id, window_start, window_end HAVING COUNT(*) > 1", []string{"Filter"}},
		{"shared view", "CREATE VIEW v AS SELECT device_id, n FROM readings; INSERT INTO s1 SELECT device_id FROM v WHERE n > 1; INSERT INTO s1 SELECT device_id FROM v", []string{"Filter"}},
		{"join", "INSERT INTO s1 SELECT d.site FROM readings AS r JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device_id = d.device_id WHERE r.n > 1", []string{"Filter"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Compile(tables+c.query, "test")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			p.visit(func(r *Relation) {
				scan, ok := r.Op.(*Scan)
				if ok && scan.Filter != nil || r.Op.Name() == "Filter" {
					got = append(got, r.Op.Name())
				}
			})
			if !slices.Equal(got, c.filters) {
				t.Errorf("filters in %v, expected %v:\n%s", got, c.filters, p.Text())
			}
		})
	}
}

// TestReads checks that a scan decodes the columns that the sink, filters and operators need, and
// no others.
func TestReads(t *testing.T) {
	for _, c := range []struct{ name, query, reads string }{
		{"selected", "INSERT INTO s1 SELECT device_id FROM plain", "device_id"},
		{"filtered", "INSERT INTO s1 SELECT device_id FROM plain WHERE x > 1", "device_id, x"},
		{"nothing", "INSERT INTO s1 SELECT 'a' FROM plain", "no columns"},
		{"watermark", "INSERT INTO s1 SELECT device_id FROM readings", "device_id, ts"},
		{"computed", "INSERT INTO s1 SELECT CAST(whole_day AS STRING) FROM readings", "ts, whole_day"},
		{"unused column of a view", "CREATE VIEW v AS SELECT device_id, x + 1 AS y FROM plain; INSERT INTO s1 SELECT device_id FROM v", "device_id"},
		{"unused aggregate", "INSERT INTO u2 SELECT device_id, COUNT(*) FROM plain GROUP BY device_id", "device_id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Compile(tables+c.query, "test")
			if err != nil {
				t.Fatal(err)
			}
			p.visit(func(r *Relation) {
				if _, ok := r.Op.(*Scan); !ok {
					return
				}
				if _, reads, _ := strings.Cut(r.Describe(), ", reads "); reads != c.reads {
					t.Errorf("reads %s, expected %s", reads, c.reads)
				}
			})
		})
	}
}

// TestOpDefaults checks that an operator with state has a signature and others have none: the
// engine compares signatures of stateful operators only.
func TestOpDefaults(t *testing.T) {
	for _, op := range []Op{&Scan{}, &Filter{}, &Project{}, &Window{}, &Unnest{}, &Union{}, &Exchange{}, &Insert{}} {
		if op.Stateful() || op.Signature(&Relation{Op: op}) != "" {
			t.Errorf("%s must be stateless and have no signature", op.Name())
		}
	}
	for _, op := range []Op{&Aggregate{}, &Rank{}, &Over{}, &TemporalJoin{}} {
		if !op.Stateful() {
			t.Errorf("%s must be stateful", op.Name())
		}
	}
}
