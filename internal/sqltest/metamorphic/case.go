package metamorphic

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/sql"
)

// Case is a pipeline and the records that come in, after which all inputs end.
type Case struct {
	Seed  uint64
	SQL   string
	Sends []Send
}

// Send is one record.
type Send struct {
	Topic     string
	Row       string    // JSON; "null" deletes
	At        time.Time // timestamp of the record; zero is that of the run
	Key       string    // "" is the table's
	Partition int32     // where the table has no key, or keys lie anywhere
}

// statements are those of the pipeline. The text was made by the generator, so that it can be
// parsed.
func (c Case) statements() []sql.Statement {
	script, err := sql.Parse(c.SQL)
	if err != nil {
		panic(fmt.Errorf("parse a generated pipeline: %w\n%s", err, c.SQL))
	}
	return script.Statements
}

// text writes statements as a file.
func text(statements []sql.Statement) string {
	var b strings.Builder
	for _, s := range statements {
		b.WriteString(sql.Format(s) + ";\n")
	}
	return b.String()
}

// sinks are the names of the tables that the pipeline writes to.
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

// script writes the records as a test for sqltest, with what it expects at its end. Records of one
// topic that follow each other are one step, of at most most records. partition says where a record
// lies; -1 is the partition of its key.
func script(sends []Send, most int, partition func(Send) int32, expect []string, rows map[string][]string) string {
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
		if head != last || n >= most {
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
