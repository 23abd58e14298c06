package dryrun

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
)

// Row is a row of an input.
type Row struct {
	Table     string    // topic or name of the table
	Value     string    // the record's value; "null" is a tombstone
	At        time.Time // timestamp; zero: the clock's time
	Key       *string   // nil: computed from the value
	Partition int32     // -1: the partition that Kafka's Java client chooses for the key
}

var partitioner = kgo.StickyKeyPartitioner(nil).ForTopic("")

// Send appends a row to its input topic. A row without a key goes to the first partition.
func (s *Simulation) Send(row Row) error {
	r, err := s.Record(row)
	if err != nil {
		return err
	}
	switch {
	case row.Partition >= 0:
		r.Partition = row.Partition
	case r.Key != nil || s.table(row.Table).Kafka.Key.Name != "": // a NULL key is placed like an empty one
		partitions := len(s.topic(r.Topic))
		r.Partition = int32(partitioner.Partition(&kgo.Record{Key: append([]byte{}, r.Key...)}, partitions)) //nolint:gosec // small number
	}
	s.add(r)
	return nil
}

// Record returns a row as a record of its table, with the table's key.
func (s *Simulation) Record(row Row) (*kgo.Record, error) {
	t := s.table(row.Table)
	if t == nil {
		return nil, fmt.Errorf("the pipeline has no table with topic %s", row.Table)
	}
	r := &kgo.Record{Topic: t.Kafka.Topic, Timestamp: row.At}
	if r.Timestamp.IsZero() {
		r.Timestamp = s.clock
	}
	if row.Value != "null" {
		r.Value = []byte(row.Value)
	}
	switch {
	case row.Key != nil:
		r.Key = []byte(*row.Key)
	case t.Kafka.Key.Name != "":
		r.Key = keyOf(t, row.Value)
	}
	return r, nil
}

// keyOf encodes the key of a row in the table's key format. It returns nil if the row is not valid
// JSON, or if its raw key is NULL.
func keyOf(t *plan.Table, row string) []byte {
	fields := make([]format.Field, len(t.Kafka.Key.Columns))
	cols := make([]*column.Column, len(fields))
	for i, c := range t.Kafka.Key.Columns {
		fields[i] = format.Field{Name: t.Columns[c].Name, Type: t.Columns[c].Type}
		cols[i] = &column.Column{Type: t.Columns[c].Type}
	}
	options := format.Options{}
	if standard := t.Kafka.Value.Options["timestamp-format.standard"]; t.Kafka.Value.Name == "json" && standard != "" {
		options["timestamp-format.standard"] = standard
	}
	decoder, err := format.NewDecoder("json", fields, options, nil)
	if err != nil || decoder.Decode([]byte(row), cols) != nil {
		return nil
	}
	if t.Kafka.Key.Name == "raw" && cols[0].Null[0] {
		return nil
	}
	encoder, err := format.NewEncoder(t.Kafka.Key.Name, t.Kafka.Key.Fields, t.Kafka.Key.Options, nil)
	if err != nil {
		return nil
	}
	key, err := encoder.Encode([]byte{}, cols, 0)
	if err != nil {
		return nil
	}
	return key
}

// Written returns the records of the pipeline's tables and its late rows, by topic and in the order
// of their partitions.
func (s *Simulation) Written() map[string][]*kgo.Record {
	out := map[string][]*kgo.Record{s.program.Settings.LateTopic: s.records(s.program.Settings.LateTopic)}
	for _, t := range s.program.Tables {
		out[t.Kafka.Topic] = s.records(t.Kafka.Topic)
	}
	return out
}

// records returns the records of a topic, partition by partition.
func (s *Simulation) records(topic string) []*kgo.Record { return slices.Concat(s.topic(topic)...) }

var errNoTopic = errors.New("the pipeline does not write to this topic")

// Output returns the rows of a topic in sorted order: the current rows of an upsert table and of
// one that prints changes, the values and reasons of dead letters and late rows. Besides topics and
// tables, name may be ".late", ".dlq" or ".dropped" (rows dropped by table options), for any
// pipeline name.
func (s *Simulation) Output(name string) ([]string, error) {
	if name == ".dropped" {
		return s.droppedRows(), nil
	}
	t := s.table(name)
	topic := name
	if t != nil {
		topic = t.Kafka.Topic
	}
	settings := s.program.Settings
	if short, ok := strings.CutPrefix(name, "."); ok {
		topic = map[string]string{"late": settings.LateTopic, "dlq": settings.DeadLetterTopic}[short]
	}
	if t != nil && t.Discards() {
		return nil, fmt.Errorf("table %s discards its rows: expect those of another table", name)
	}
	rejected := topic == settings.LateTopic || topic == settings.DeadLetterTopic
	var rows []string
	switch {
	case t == nil && !rejected:
		return nil, fmt.Errorf("%w: %s", errNoTopic, name)
	case t != nil && t.Upsert:
		rows = s.current(topic)
	case t != nil && t.Changes:
		rows = s.remaining(topic)
	default:
		rows = s.all(topic, rejected)
	}
	slices.Sort(rows)
	return rows, nil
}

// current returns the last value of each key of a topic that is not deleted.
func (s *Simulation) current(topic string) []string {
	values := make(map[string]string)
	for _, r := range s.records(topic) {
		if r.Value == nil {
			delete(values, string(r.Key))
		} else {
			values[string(r.Key)] = string(r.Value)
		}
	}
	rows := make([]string, 0, len(values))
	for _, v := range values {
		rows = append(rows, v)
	}
	return rows
}

// remaining returns the rows of a topic of changes that are not retracted, as inserted ones.
func (s *Simulation) remaining(topic string) []string {
	rows := []string{}
	for _, r := range s.records(topic) {
		kind, row := string(r.Value[:2]), "+I"+string(r.Value[2:])
		if kind == "+I" || kind == "+U" {
			rows = append(rows, row)
		} else if i := slices.Index(rows, row); i >= 0 {
			rows = slices.Delete(rows, i, i+1)
		}
	}
	return rows
}

// all returns the value of each record of a topic, with the reason of rejected ones.
func (s *Simulation) all(topic string, rejected bool) []string {
	rows := []string{}
	for _, r := range s.records(topic) {
		row := string(r.Value)
		if r.Value == nil {
			row = "null"
		}
		if rejected {
			row += " # " + string(r.Headers[0].Value)
		}
		rows = append(rows, row)
	}
	return rows
}

// droppedRows returns the counters of dropped rows as JSON.
func (s *Simulation) droppedRows() []string {
	rows := []string{}
	for drop, n := range s.dropped {
		rows = append(rows, fmt.Sprintf(`{"table":%q,"what":%q,"n":%d}`, drop.Table, drop.What, n))
	}
	slices.Sort(rows)
	return rows
}
