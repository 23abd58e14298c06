package metamorphic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/sql"
)

// Keys is what a pipeline knows of where the keys of its topics lie.
type Keys string

// The ways to know it. The same query runs with an exchange, or without one where the key of a
// topic is enough.
const (
	Declared   Keys = ""              // keys are declared, and lie where murmur2 puts them
	Undeclared Keys = "no keys"       // no keys are declared
	Anywhere   Keys = "keys anywhere" // keys are declared, and lie in any partition
)

// Variant is a way to run a case that must not matter.
type Variant struct {
	dryrun.Options
	Keys  Keys
	Plain bool // without rewrites
	Step  int  // records of one topic that come before tasks read; 0 is all that follow each other
	// Wall makes the rows' time a TIMESTAMP: what the clock of the session's zone shows. The
	// windows of both are the same.
	Wall bool
}

// Plainest is the way with which all others are compared: one partition, in one poll, without keys
// and rewrites.
var Plainest = Variant{Options: dryrun.Options{Partitions: 1}, Keys: Undeclared, Plain: true}

func (v Variant) String() string {
	said := []string{fmt.Sprintf("%d partitions", v.Partitions)}
	add := func(yes bool, format string, args ...any) {
		if yes {
			said = append(said, fmt.Sprintf(format, args...))
		}
	}
	add(v.Keys != Declared, "%s", v.Keys)
	add(v.Batch > 0, "transactions of %d records", v.Batch)
	add(v.Step > 0, "%d records between reads", v.Step)
	add(v.Crash, "a crash in each transaction")
	add(v.Seed != 0, "polls in the order of seed %d", v.Seed)
	add(v.MaxFired > 0, "%d windows fired at once", v.MaxFired)
	add(v.Plain, "no rewrites")
	add(v.Wall, "times of the wall clock")
	return strings.Join(said, ", ")
}

// most is how many records a step may have.
func (v Variant) most() int {
	if v.Step > 0 {
		return v.Step
	}
	return 1 << 30
}

// variantsOf chooses some ways to run a case. Each has a good chance to find what only it can, so
// that many cases are better than all ways of few.
func variantsOf(c Case, r *rand.Rand) []Variant {
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	var all []Variant
	for i := range 6 {
		v := Variant{
			Options: dryrun.Options{Partitions: int32(pick(1, 3, 4)), Batch: pick(0, 0, 1, 3, 7), Crash: r.IntN(3) == 0, MaxFired: pick(0, 0, 1, 2)}, //nolint:gosec // few
			Keys:    []Keys{Declared, Undeclared, Anywhere}[i%3],
			Plain:   r.IntN(4) == 0,
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

// partition says where a record lies: in the partition that the case names, where that is not
// decided by the key.
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

// option is the value of a table's option.
func option(t *sql.CreateTable, key string) string {
	for _, o := range t.Options {
		if o.Key == key {
			return o.Value
		}
	}
	return ""
}

// apply writes a case as the variant wants it.
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
	if v.Wall {
		sends = slices.Clone(sends)
		for i := range sends {
			sends[i].Row = strings.Replace(sends[i].Row, `"ts":`, `"instant":`, 1)
		}
		for _, s := range statements {
			if t, ok := s.(*sql.CreateTable); ok && t.Watermark != nil && t.Watermark.Column[0].Name == "ts" {
				tellWall(t)
			}
		}
	}
	return statements, sends
}

// tellWall makes ts of a table what the wall clock shows. Where clocks go back, times come again,
// so that the watermark waits for two more hours.
func tellWall(t *sql.CreateTable) {
	wall, err := sql.Parse("CREATE TABLE t (instant TIMESTAMP_LTZ(3), ts AS CAST(instant AS TIMESTAMP(3)), WATERMARK FOR ts AS ts - INTERVAL '5' HOUR) WITH ('a' = 'b')")
	if err != nil {
		panic(err) // the text is ours
	}
	like := wall.Statements[0].(*sql.CreateTable)
	i := slices.IndexFunc(t.Columns, func(c sql.Column) bool { return c.Name.Name == "ts" })
	t.Columns = slices.Concat(t.Columns[:i], like.Columns, t.Columns[i+1:])
	t.Watermark = like.Watermark
}

// canWall reports whether a case looks at the time of rows only for windows of the wall clock.
func canWall(c Case) bool {
	if !strings.Contains(c.SQL, "ts TIMESTAMP_LTZ(3)") || !strings.Contains(c.SQL, "DESCRIPTOR(ts)") {
		return false
	}
	rest := strings.NewReplacer("ts TIMESTAMP_LTZ(3)", "", "WATERMARK FOR ts AS ts -", "", "DESCRIPTOR(ts)", "", "ts, ", "", "ts\n", "").Replace(c.SQL)
	for _, word := range []string{" ts", "(ts", ".ts", "SESSION", "window_time", "OVER", "SYSTEM_TIME", "mid"} {
		if strings.Contains(rest, word) {
			return false
		}
	}
	return true
}
