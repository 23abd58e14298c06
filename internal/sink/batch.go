package sink

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
)

// reader turns records of a result topic into rows.
type reader struct {
	table      *plan.Table
	key, value format.Decoder
}

func newReader(t *plan.Table) (*reader, error) {
	r := &reader{table: t}
	if t.Changes {
		return r, nil // a target prints the records as they are
	}
	var err error
	if t.Upsert {
		if r.key, err = format.NewDecoder(t.Kafka.Key.Name, t.Kafka.Key.Fields, t.Kafka.Key.Options, nil); err != nil {
			return nil, err
		}
	}
	r.value, err = format.NewDecoder(t.Kafka.Value.Name, t.Kafka.Value.Fields, t.Kafka.Value.Options, nil)
	return r, err
}

func typesOf(fields []format.Field) []column.Type {
	types := make([]column.Type, len(fields))
	for i, f := range fields {
		types[i] = f.Type
	}
	return types
}

// batch returns an empty batch.
func (r *reader) batch() *Batch {
	return &Batch{Rows: column.NewBatch(typesOf(r.table.Kafka.Value.Fields)), Deleted: column.NewBatch(typesOf(r.table.Kafka.Key.Fields))}
}

// reset empties a batch, and keeps its memory.
func (b *Batch) reset() {
	for _, rows := range []*column.Batch{b.Rows, b.Deleted} {
		for _, c := range rows.Cols {
			clear(c.S) // they hold the memory of records
		}
		rows.Reset()
	}
	clear(b.Origins)
	clear(b.DeletedOrigins)
	b.Origins, b.DeletedOrigins = b.Origins[:0], b.DeletedOrigins[:0]
}

// fill decodes records, in the order of their partitions, to an empty batch. Of each key only the
// last version remains. It returns records that can't be decoded.
func (r *reader) fill(b *Batch, records []*kgo.Record) (bad []Refusal) {
	if r.table.Upsert {
		records = lastVersions(records)
	}
	for _, rec := range records {
		if err := r.add(b, rec); err != nil {
			bad = append(bad, Refusal{rec, deadletter.Because(deadletter.Undecodable, err)})
		}
	}
	return bad
}

var errNoValue = errors.New("the record has no value, but the table has no primary key: it was not written by this pipeline")

func (r *reader) add(b *Batch, rec *kgo.Record) error {
	switch {
	case r.table.Changes && rec.Value != nil:
		b.Rows.N++
		b.Origins = append(b.Origins, rec)
	case rec.Value == nil && !r.table.Upsert:
		return errNoValue
	case rec.Value == nil:
		if err := r.key.Decode(rec.Key, b.Deleted.Cols); err != nil {
			return err
		}
		b.Deleted.N++
		b.DeletedOrigins = append(b.DeletedOrigins, rec)
	default:
		if err := r.value.Decode(rec.Value, b.Rows.Cols); err != nil {
			return err
		}
		b.Rows.N++
		b.Origins = append(b.Origins, rec)
	}
	return nil
}

// lastVersions keeps the last record of each key and sorts by key, so that sessions lock rows in
// the same order. All records of a key are in one partition.
func lastVersions(records []*kgo.Record) []*kgo.Record {
	last := make(map[string]int, len(records)) // index in kept
	kept := make([]*kgo.Record, 0, len(records))
	for _, rec := range records {
		i, again := last[string(rec.Key)]
		if !again {
			last[string(rec.Key)] = len(kept)
			kept = append(kept, rec)
		} else if was := kept[i]; was.Offset < rec.Offset || was.Partition != rec.Partition {
			kept[i] = rec
		}
	}
	slices.SortFunc(kept, func(a, b *kgo.Record) int { return bytes.Compare(a.Key, b.Key) })
	return kept
}

// ByOffset orders records by partition and offset.
func ByOffset(a, b *kgo.Record) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

// Text returns the value of a text, BOOLEAN or integer column as text.
func Text(c *column.Column, row int) string {
	switch {
	case c.Type.Class() == column.Texts:
		return c.S[row]
	case c.Type.Kind == column.Boolean:
		return strconv.FormatBool(c.I[row] != 0)
	}
	return strconv.FormatInt(c.I[row], 10)
}
