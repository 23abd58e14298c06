// Package history checks what a broker did to transactions against what its clients saw, after
// Jepsen's workload for Kafka. It trusts only the clients: what each transaction wrote, how it
// ended as far as its client knows, and what read_committed readers were given.
package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Outcome is how a transaction ended, as far as its client knows.
type Outcome int

// Outcomes. A transaction whose commit was never requested is aborted, whatever the answers were.
const (
	Aborted Outcome = iota
	Unknown         // the commit was requested and not acknowledged
	Committed
)

// String implements fmt.Stringer.
func (o Outcome) String() string {
	return [...]string{"aborted", "unknown", "committed"}[o]
}

// Partition is a partition of a topic.
type Partition struct {
	Topic string
	ID    int32
}

// Transaction is one transaction of a writer, or one batch that was written without one.
type Transaction struct {
	Writer  string
	Number  int // increases with each transaction of the writer
	Records int // written, each to a different partition
	Outcome Outcome
}

// Record identifies a record: the number of its transaction and its number in it, from 0. Its
// String is the record's value in the log.
type Record struct {
	Writer             string
	Transaction, Index int
}

// String returns writer/transaction/index.
func (r Record) String() string { return fmt.Sprintf("%s/%d/%d", r.Writer, r.Transaction, r.Index) }

// ParseRecord is the inverse of Record.String. Writers' names have no slash and no space.
func ParseRecord(value string) (r Record, err error) {
	writer, numbers, _ := strings.Cut(value, "/")
	r.Writer = writer
	if _, err := fmt.Sscanf(numbers, "%d/%d", &r.Transaction, &r.Index); err != nil {
		return r, fmt.Errorf("parse record %q: %w", value, err)
	}
	return r, nil
}

// Observation is a record that a reader was given.
type Observation struct {
	Partition Partition
	Offset    int64
	Record    Record
}

// Read is what one read_committed reader was given, in that order.
type Read struct {
	Reader string
	Seen   []Observation
}

// History is what all clients saw.
type History struct {
	Transactions []Transaction
	Reads        []Read // at any time
	Final        Read   // of all partitions, from start to end, after all transactions have ended
}

// Verdict names a way to violate atomicity, durability or order.
type Verdict string

// Verdicts.
const (
	Lost         Verdict = "lost"          // committed or already read, and not in the final read
	Doubled      Verdict = "doubled"       // at two positions of the log
	AbortedRead  Verdict = "aborted read"  // given to a reader although its commit was never requested
	Torn         Verdict = "torn"          // only some records of a transaction are visible
	NonMonotonic Verdict = "non-monotonic" // offsets, or one writer's transactions, out of order; a position with two records
)

// Finding is a violation.
type Finding struct {
	Verdict Verdict
	Detail  string
}

// String implements fmt.Stringer.
func (f Finding) String() string { return fmt.Sprintf("%s: %s", f.Verdict, f.Detail) }

// Check returns the violations in a history, in a stable order.
func Check(h History) []Finding {
	c := checker{History: h, written: make(map[txn]Transaction), at: make(map[position]Record), of: make(map[Record]position)}
	for _, t := range h.Transactions {
		c.written[txn{t.Writer, t.Number}] = t
	}
	for _, r := range append(slices.Clone(h.Reads), h.Final) {
		c.read(r)
	}
	c.final()
	return c.found
}

type txn struct {
	writer string
	number int
}

type position struct {
	Partition
	offset int64
}

func (p position) String() string { return fmt.Sprintf("%s-%d offset %d", p.Topic, p.ID, p.offset) }

type checker struct {
	History
	written map[txn]Transaction
	at      map[position]Record // what any reader was given there
	of      map[Record]position
	found   []Finding
}

func (c *checker) add(v Verdict, format string, args ...any) {
	c.found = append(c.found, Finding{v, fmt.Sprintf(format, args...)})
}

// read checks one read by itself and against the reads before it.
func (c *checker) read(r Read) {
	last := make(map[Partition]int64)
	for _, o := range r.Seen {
		at := position{o.Partition, o.Offset}
		if before, ok := last[o.Partition]; ok && o.Offset <= before {
			c.add(NonMonotonic, "%s was given %s after offset %d", r.Reader, at, before)
		}
		last[o.Partition] = o.Offset
		if other, ok := c.at[at]; ok && other != o.Record {
			c.add(NonMonotonic, "%s has %s for %s, and had %s for another reader", at, o.Record, r.Reader, other)
		}
		c.at[at] = o.Record
		if other, ok := c.of[o.Record]; ok && other != at {
			c.add(Doubled, "%s is at %s and at %s", o.Record, other, at)
		}
		c.of[o.Record] = at
		t, known := c.written[txn{o.Record.Writer, o.Record.Transaction}]
		switch {
		case !known || o.Record.Index >= t.Records:
			c.add(AbortedRead, "%s was given %s at %s, which was never written", r.Reader, o.Record, at)
		case t.Outcome == Aborted:
			c.add(AbortedRead, "%s was given %s at %s", r.Reader, o.Record, at)
		}
	}
}

// final checks the final read for completeness and order.
func (c *checker) final() {
	visible := make(map[txn]map[int]bool)
	newest := make(map[Partition]map[string]int)
	for _, o := range c.Final.Seen {
		t := txn{o.Record.Writer, o.Record.Transaction}
		if visible[t] == nil {
			visible[t] = make(map[int]bool)
		}
		visible[t][o.Record.Index] = true
		if newest[o.Partition] == nil {
			newest[o.Partition] = make(map[string]int)
		}
		if before, ok := newest[o.Partition][t.writer]; ok && t.number < before {
			c.add(NonMonotonic, "%s-%d has transaction %d of %s after %d", o.Partition.Topic, o.Partition.ID, t.number, t.writer, before)
		}
		newest[o.Partition][t.writer] = t.number
	}
	for _, t := range c.Transactions {
		n := len(visible[txn{t.Writer, t.Number}])
		switch {
		case n == 0 && t.Outcome == Committed && t.Records > 0:
			c.add(Lost, "transaction %d of %s was acknowledged and is not visible", t.Number, t.Writer)
		case n > 0 && n < t.Records:
			c.add(Torn, "%d of %d records of transaction %d of %s (%s) are visible", n, t.Records, t.Number, t.Writer, t.Outcome)
		}
	}
	inOrder := func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Writer, b.Writer), cmp.Compare(a.Transaction, b.Transaction), cmp.Compare(a.Index, b.Index))
	}
	for _, r := range slices.SortedFunc(maps.Keys(c.of), inOrder) {
		if !visible[txn{r.Writer, r.Transaction}][r.Index] {
			c.add(Lost, "%s was read at %s and is no longer there", r, c.of[r])
		}
	}
}
