package plan

import (
	"fmt"
	"strconv"

	"weir.example/weir/internal/format"
	"weir.example/weir/internal/sql"
)

// printed is the connector print: INSERTs print each change of their rows.
type printed struct{}

// Print is where the connector print writes.
type Print struct {
	Identifier string // before each line; "" for none
	Stderr     bool
}

func (p *Print) String() string {
	if p.Stderr {
		return "stderr"
	}
	return "stdout"
}

// options implements connector.
func (printed) options() []option {
	return []option{
		connectorOption,
		{key: "print-identifier", kind: textOption, about: "Begins each line."},
		{key: "standard-error", kind: booleanOption, otherwise: "false", about: "Prints to the standard error output instead of the standard output."},
		ignore("sink.parallelism", integerOption, "Flink's number of parallel writers."),
	}
}

func (printed) metadata() map[string]metadata { return nil }

func (printed) bind(t *Table, o *options) (err error) {
	p := &Print{Identifier: o.get("print-identifier")}
	if text := o.get("standard-error"); text != "" {
		if p.Stderr, err = strconv.ParseBool(text); err != nil {
			return o.bad("standard-error", "write true or false")
		}
	}
	if !resultName.MatchString(t.Name) {
		return sql.Errorf(t, "table %s: the name can't be part of the topic through which its rows pass", t.Name).
			WithHint("use letters, digits, _ and -; 'print-identifier' is printed before each row")
	}
	t.Delivery = p
	return t.takeChanges()
}

// blackhole is the connector blackhole: INSERTs compute their rows and discard them.
type blackhole struct{}

// Discard is the delivery of rows that are discarded. They pass through no topic.
type Discard struct{}

func (Discard) String() string { return "nowhere" }

func (blackhole) options() []option { return []option{connectorOption} }

func (blackhole) metadata() map[string]metadata { return nil }

func (blackhole) bind(t *Table, _ *options) error {
	t.Delivery = Discard{}
	return t.takeChanges()
}

// takeChanges makes a table take every change of its rows, also those that update or delete one. In
// the topic, each is a line of text.
func (t *Table) takeChanges() error {
	t.Changes = true
	t.Kafka = &Kafka{Startup: Startup{Group: true}, Reset: ResetEarliest}
	for i, c := range t.Columns {
		if c.Physical() {
			t.Kafka.Value.add(t, i)
		}
	}
	if len(t.Kafka.Value.Columns) == 0 {
		return sql.Errorf(t, "table %s has no columns to write", t.Name)
	}
	t.Kafka.Value.Name, t.Kafka.Value.Options = format.Print, format.Options{}
	return nil
}

// Discards reports whether rows of the table are discarded.
func (t *Table) Discards() bool { return t.Delivery == Delivery(Discard{}) }

// readRefusal says why rows of a table with this delivery can't be read, and what to do instead.
func readRefusal(d Delivery) (what, hint string) {
	const produce = "send its rows to a topic, for example with weir produce --file, and read that"
	switch d := d.(type) {
	case *Files:
		return "files", produce
	case *Print:
		return fmt.Sprintf("what is printed to %s", d), "write the rows to a kafka table, and read that"
	case Discard:
		return "rows that are discarded", "write the rows to a kafka table, and read that"
	}
	if OnlyInWeir(d) != "" {
		return "what is sent elsewhere", produce
	}
	return "the tables of a SQLite database", "send its rows to a topic, and read that; lookup joins read tables of PostgreSQL"
}
