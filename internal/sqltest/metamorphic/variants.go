package metamorphic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/sql"
)

// Keys is what a pipeline declares about the keys of its topics and their partitioning.
type Keys string

// Values of Keys. The same query runs with or without an exchange, depending on them.
const (
	Declared   Keys = ""              // keys are declared, and placed by murmur2
	Undeclared Keys = "no keys"       // no keys are declared
	Anywhere   Keys = "keys anywhere" // keys are declared, and may be in any partition
)

// Variant is how a case runs; it must not affect the rows.
type Variant struct {
	dryrun.Options
	Keys  Keys
	Plain bool // without rewrites
	Step  int  // max records of one topic between reads; 0: all consecutive ones
	// Wall makes the time column a TIMESTAMP with the local time of the session's zone. The windows
	// are the same.
	Wall bool
	TTL  bool // state expires, but later than the rows end
}

// Plainest is the variant that all others are compared with: one partition, one batch, without keys
// and rewrites.
var Plainest = Variant{Options: dryrun.Options{Partitions: 1}, Keys: Undeclared, Plain: true}

func (v Variant) String() string {
	parts := []string{fmt.Sprintf("%d partitions", v.Partitions)}
	add := func(yes bool, format string, args ...any) {
		if yes {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(v.Keys != Declared, "%s", v.Keys)
	add(v.Batch > 0, "transactions of %d records", v.Batch)
	add(v.Step > 0, "%d records between reads", v.Step)
	add(v.Crash, "a crash in each transaction")
	add(v.Seed != 0, "read order of seed %d", v.Seed)
	add(v.MaxFired > 0, "at most %d windows per firing", v.MaxFired)
	add(v.Plain, "no rewrites")
	add(v.Wall, "local times")
	add(v.TTL, "a TTL")
	return strings.Join(parts, ", ")
}

// stepLimit returns the maximum number of records of a step.
func (v Variant) stepLimit() int {
	if v.Step > 0 {
		return v.Step
	}
	return 1 << 30
}

// variantsOf returns random variants for a case. Running a few variants of many cases finds more
// than all variants of few.
func variantsOf(c Case, r *rand.Rand) []Variant {
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	var all []Variant
	for i := range 6 {
		v := Variant{
			Options: dryrun.Options{Partitions: int32(pick(1, 3, 4)), Batch: pick(0, 0, 1, 3, 7), Crash: r.IntN(3) == 0, MaxFired: pick(0, 0, 1, 2)}, //nolint:gosec // small number
			Keys:    []Keys{Declared, Undeclared, Anywhere}[i%3],
			Plain:   r.IntN(4) == 0,
			TTL:     r.IntN(3) == 0,
			Step:    pick(0, 1, 2, 5),
		}
		if r.IntN(2) == 0 {
			v.Batch, v.Seed = 0, 1+r.Int64N(1_000_000)
		}
		all = append(all, v)
	}
	if canWall(c) {
		v := all[r.IntN(len(all))]
		v.Wall = true
		all = append(all, v)
	}
	return all
}

// partition returns a function that returns the partition of a record, or -1 if its key decides.
func (v Variant) partition(statements []sql.Statement) func(Send) int32 {
	keyed := make(map[string]bool)
	for _, s := range statements {
		if t, ok := s.(*sql.CreateTable); ok {
			keyed[option(t, "topic")] = option(t, "connector") == "upsert-kafka" || option(t, "key.fields") != "" && v.Keys == Declared
		}
	}
	return func(s Send) int32 {
		if keyed[s.Topic] || v.Partitions < 2 {
			return -1
		}
		return s.Partition % v.Partitions
	}
}

// option returns the value of a table's option.
func option(t *sql.CreateTable, key string) string {
	for _, o := range t.Options {
		if o.Key == key {
			return o.Value
		}
	}
	return ""
}

// apply rewrites a case for the variant.
func (v Variant) apply(c Case) ([]sql.Statement, []Send) {
	statements, sends := c.statements(), c.Sends
	switch v.Keys {
	case Undeclared:
		for _, s := range statements {
			if t, ok := s.(*sql.CreateTable); ok && option(t, "connector") == "kafka" {
				t.Options = slices.DeleteFunc(t.Options, func(o sql.Option) bool { return strings.HasPrefix(o.Key, "key.") })
			}
		}
	case Anywhere:
		statements = append([]sql.Statement{&sql.Set{Key: "weir.key-partitioning", Value: "any"}}, statements...)
	}
	if v.TTL {
		statements = append([]sql.Statement{&sql.Set{Key: "table.exec.state.ttl", Value: "100000 d"}}, statements...)
	}
	if v.Wall {
		sends = slices.Clone(sends)
		for i := range sends {
			sends[i].Row = strings.Replace(sends[i].Row, `"ts":`, `"instant":`, 1)
		}
		for _, s := range statements {
			if t, ok := s.(*sql.CreateTable); ok && t.Watermark != nil && t.Watermark.Column[0].Name == "ts" {
				useWallTime(t)
			}
		}
	}
	return statements, sends
}

// useWallTime makes ts of a table a local time. When clocks go back, times repeat, so the watermark
// gets two more hours of delay.
func useWallTime(t *sql.CreateTable) {
	wall, err := sql.Parse("CREATE TABLE t (instant TIMESTAMP_LTZ(3), ts AS CAST(instant AS TIMESTAMP(3)), WATERMARK FOR ts AS ts - INTERVAL '5' HOUR) WITH ('a' = 'b')")
	if err != nil {
		panic(err) // the text is constant
	}
	like := wall.Statements[0].(*sql.CreateTable)
	i := slices.IndexFunc(t.Columns, func(c sql.Column) bool { return c.Name.Name == "ts" })
	t.Columns = slices.Concat(t.Columns[:i], like.Columns, t.Columns[i+1:])
	t.Watermark = like.Watermark
}

// canWall reports whether a case uses row times only for windows over local time.
func canWall(c Case) bool {
	if !strings.Contains(c.SQL, "DESCRIPTOR(ts)") || strings.Contains(c.SQL, "ORDER BY ts") {
		return false
	}
	if tables := strings.Count(c.SQL, "ts TIMESTAMP_LTZ(3)"); tables == 0 || tables > strings.Count(c.SQL, "WATERMARK FOR ts") {
		return false // ts is written to a table
	}
	rest := strings.NewReplacer("ts TIMESTAMP_LTZ(3)", "", "WATERMARK FOR ts AS ts -", "", "DESCRIPTOR(ts)", "", "ts, ", "", "ts\n", "").Replace(c.SQL)
	for _, word := range []string{" ts", "(ts", ".ts", "SESSION", "window_time", "OVER", "SYSTEM_TIME", "mid"} {
		if strings.Contains(rest, word) {
			return false
		}
	}
	return true
}
