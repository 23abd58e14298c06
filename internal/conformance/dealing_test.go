package conformance

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sqltest"
)

// dealtTables separates pipeline and table in the names of tables whose rows vary between runs of
// Flink over several partitions. Weir's rows do not vary, and are compared with Flink's over one
// partition.
const dealtTables = "/dealt."

// readDealing returns the tables whose rows depend on the partitions of the input rows.
func readDealing(t *testing.T) known {
	t.Helper()
	text, err := os.ReadFile("testdata/dealing")
	if err != nil {
		t.Fatal(err)
	}
	return parseKnown(string(text))
}

// TestDealings runs each pipeline with its rows distributed over four partitions: arbitrarily, and
// by keys that its sources declare, so that queries run with and without an exchange. The results
// must equal Flink's, unless testdata/dealing lists the table as dependent on the distribution, or
// rows are late: whether a row is late depends on the rows before it in its partition. For one
// distribution, the results must be the same with and without an exchange, even if rows are late.
func TestDealings(t *testing.T) {
	k := readKnown(t)
	dependent, met := readDealing(t), make(map[string]bool)
	var dealings, compared, lateOnes, askedDealt int
	for _, file := range pipelineFiles(t) {
		tests, err := sqltest.Tests(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range tests {
			name := strings.TrimSuffix(filepath.Base(test), ".case")
			t.Run(filepath.Base(filepath.Dir(file))+"/"+name, func(t *testing.T) {
				c, err := readCase(file, test)
				if err != nil {
					t.Fatal(err)
				}
				g, err := readGolden(file, test, c.hash)
				if err != nil {
					t.Fatal(err)
				}
				_, lateThere, err := c.play(dryrun.Options{})
				if err != nil {
					t.Fatal(err)
				}
				all, err := c.dealings()
				if err != nil {
					t.Fatal(err)
				}
				lateHere := 0
				_, spread, err := c.spread()
				if err != nil {
					t.Fatal(err)
				}
				dealt, err := readGolden(file, dealtTest(test), caseHash(c.text, spread))
				if err != nil && !errors.Is(err, errNoGolden) {
					t.Fatal(err)
				}
				if dealt != nil {
					askedDealt += len(dealt.Tables)
				}
				var byKey map[string][]string // results without an exchange
				for i, d := range all {
					if d.any && i > 2 && lateThere == 0 && lateHere == 0 { // the plan would be the same as without keys
						continue
					}
					o := dryrun.Options{Seed: 1 + rand.Int64N(1_000_000), Crash: rand.IntN(4) == 0, MaxFired: rand.IntN(2)}
					p, tables, late, err := d.run(test, o)
					if err != nil {
						t.Errorf("%s, any partition: %t, %+v: %v", d.name, d.any, o, err)
						continue
					}
					dealings++
					lateHere = late
					if !d.any {
						byKey = tables
					}
					for _, table := range slices.Sorted(maps.Keys(tables)) {
						at := name + "." + table
						if i := slices.IndexFunc(p.Tables, func(s *plan.Table) bool { return s.Name == table }); isSource(p, p.Tables[i]) {
							continue
						}
						met[at], met[name+dealtTables+table] = true, true
						if dependent[at] != "" {
							continue
						}
						if d.any && !d.spread {
							if diff := difference(table, byKey[table], tables[table]).String(); diff != "" {
								t.Errorf("%s, any partition: %t, %+v: an exchange (+) changes the rows (-):\n%s", d.name, d.any, o, diff)
							}
						}
						flink, written := g.Tables[table]
						lateRows := late + lateThere
						if d.spread && dealt != nil { // recorded over the same distribution
							if rows, asked := dealt.Tables[table]; asked {
								flink, written, lateRows = rows, true, late
							}
						}
						switch {
						case !written || k[at] != "":
							continue
						case lateRows > 0:
							lateOnes++
							continue
						}
						compared++
						if diff := difference(table, flink, tables[table]).String(); diff != "" {
							t.Errorf("%s, any partition: %t, %+v:\n%s", d.name, d.any, o, diff)
						}
					}
				}
			})
		}
	}
	for at := range dependent {
		if !met[at] {
			t.Errorf("testdata/dealing lists %s, which is no table of a pipeline", at)
		}
	}
	t.Logf("%d dealings, %d tables compared with Flink %s, %d not because rows are late; Flink itself has had the rows of %d tables in four partitions", dealings, compared, FlinkVersion, lateOnes, askedDealt)
}
