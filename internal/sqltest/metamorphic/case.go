package metamorphic

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/sql"
)

// Case is a pipeline and its input records; the inputs end after them.
type Case struct {
	Seed  uint64
	SQL   string
	Sends []Send
}

// Send is one record.
type Send struct {
	Topic     string
	Row       string    // JSON; "null" deletes
	At        time.Time // timestamp; zero: the run's clock
	Key       string    // "": computed from the row
	Partition int32     // used if the table has no key, or if keys may be in any partition
}

// statements parses the pipeline; generated text is always valid.
func (c Case) statements() []sql.Statement {
	script, err := sql.Parse(c.SQL)
	if err != nil {
		panic(fmt.Errorf("parse a generated pipeline: %w\n%s", err, c.SQL))
	}
	return script.Statements
}

// text formats statements as a file.
func text(statements []sql.Statement) string {
	var b strings.Builder
	for _, s := range statements {
		b.WriteString(sql.Format(s) + ";\n")
	}
	return b.String()
}

// sinks returns the names of the tables that the pipeline writes to.
func sinks(statements []sql.Statement) []string {
	var all []string
	for _, s := range statements {
		if i, ok := s.(*sql.Insert); ok {
			if name := i.Table[0].Name; !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// script formats the records as a test file with the expected rows at its end. Consecutive records
// of one topic form one step of at most limit records. partition returns the partition of a record;
// -1 means that of its key.
func script(sends []Send, limit int, partition func(Send) int32, expect []string, rows map[string][]string) string {
	var b strings.Builder
	last, n := "", 0
	for _, s := range sends {
		head := "send " + s.Topic
		if p := partition(s); p >= 0 {
			head += fmt.Sprintf(" partition=%d", p)
		}
		if !s.At.IsZero() {
			head += " timestamp=" + s.At.Format(time.RFC3339Nano)
		}
		if s.Key != "" {
			head += " key=" + s.Key
		}
		if head != last || n >= limit {
			b.WriteString(head + "\n")
			last, n = head, 0
		}
		b.WriteString(s.Row + "\n")
		n++
	}
	b.WriteString("end\n")
	for _, name := range expect {
		b.WriteString("expect " + name + "\n")
		for _, r := range rows[name] {
			b.WriteString(r + "\n")
		}
	}
	return b.String()
}
