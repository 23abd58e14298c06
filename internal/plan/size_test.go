package plan

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Expressions of a megabyte are planned and explained in linear time: anybody who can open the
// console can have them checked.
func TestLongExpressions(t *testing.T) {
	const table = "CREATE TABLE r (n BIGINT, s STRING) WITH ('connector' = 'kafka', 'topic' = 'r', 'value.format' = 'json');\n"
	list := func(n int, between, each string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = strings.ReplaceAll(each, "#", fmt.Sprint(i))
		}
		return strings.Join(all, between)
	}
	for name, text := range map[string]string{
		"OR":   "SELECT n FROM r WHERE " + list(30_000, " OR ", "n = #"),
		"AND":  "SELECT n FROM r WHERE " + list(30_000, " AND ", "n <> #"),
		"+":    "SELECT " + list(30_000, " + ", "n") + " FROM r",
		"||":   "SELECT " + list(30_000, " || ", "s") + " FROM r",
		"CASE": "SELECT CASE " + list(15_000, " ", "WHEN n = # THEN #") + " END FROM r",
		"IN":   "SELECT n FROM r WHERE n IN (" + list(100_000, ", ", "#") + ")",
		"list": "SELECT " + list(5_000, ", ", "n + # AS c#") + " FROM r",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := processTime(t)
		p, err := Preview(table+text+";", "long")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		shown := len(p.Text())
		runtime.ReadMemStats(&after)
		// A quadratic plan took 36 s and 14 GB. The limits leave room for a race detector.
		if took, used := processTime(t)-began, (after.TotalAlloc-before.TotalAlloc)>>20; took > 8*time.Second || used > 500 {
			t.Errorf("%s: %s of CPU and %d MiB for a plan with a text of %d bytes", name, took, used, shown)
		}
	}
}

// processTime returns the CPU time of the process, which other processes don't affect much.
func processTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
