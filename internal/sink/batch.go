package sink

import (
	"bytes"
	"cmp"
	"encoding/binary"
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

// version is a record of a keyed table, and how it is compared.
type version struct {
	head  uint64 // of the key, behind what all keys begin with
	at    int    // its place among the records
	whole *kgo.Record
}

// lastVersions keeps the last record of each key and sorts by key, so that sessions lock rows in
// the same order. All records of a key are in one partition, in the order of their offsets.
func lastVersions(records []*kgo.Record) []*kgo.Record {
	if len(records) == 0 {
		return nil
	}
	common := commonPrefix(records)
	all := make([]version, len(records))
	for i, rec := range records {
		var head [8]byte
		copy(head[:], rec.Key[common:])
		all[i] = version{binary.BigEndian.Uint64(head[:]), i, rec}
	}
	slices.SortFunc(all, func(a, b version) int {
		if a.head != b.head {
			return cmp.Compare(a.head, b.head)
		}
		return cmp.Or(bytes.Compare(a.whole.Key, b.whole.Key), cmp.Compare(a.at, b.at))
	})
	kept := make([]*kgo.Record, 0, len(records))
	for i, v := range all {
		if i+1 == len(all) || !bytes.Equal(v.whole.Key, all[i+1].whole.Key) {
			kept = append(kept, v.whole)
		}
	}
	return kept
}

// commonPrefix returns how many bytes all keys have in common at their beginning.
func commonPrefix(records []*kgo.Record) int {
	first, n := records[0].Key, len(records[0].Key)
	for _, rec := range records {
		n = min(n, len(rec.Key))
		for i := range n {
			if rec.Key[i] != first[i] {
				n = i
				break
			}
		}
	}
	return n
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
