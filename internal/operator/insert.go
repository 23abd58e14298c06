package operator

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
)

// writer encodes rows as records of a table.
type writer struct {
	base
	op          *plan.Insert
	table       *plan.Table
	key, value  format.Encoder
	keyCols     []*column.Column
	valueCols   []*column.Column
	nulls       []*column.Column // by column of the table: NULLs for columns that the query does not set
	timestamp   int              // column of the input, or -1
	headers     int
	notNull     []int          // columns of the table
	keys        []int          // the subset in the primary key
	sized       []sized        // columns of the table with a declared length to check or enforce
	fields      []format.Field // the input's columns with the table's names and types
	partitioner kgo.TopicPartitioner
	limit       int  // maximum bytes of a record in the topic; 0 is no limit
	discards    bool // rows are counted, and nothing else

	// For an upsert table, only the last change of each key in a transaction is written.
	changes map[string]*kgo.Record
	order   []string
}

func newWriter(b base, op *plan.Insert) (node, error) {
	t := op.Table
	w := &writer{
		base: b, op: op, table: t, timestamp: -1, headers: -1, nulls: make([]*column.Column, len(t.Columns)),
		partitioner: kgo.StickyKeyPartitioner(nil).ForTopic(t.Kafka.Topic), changes: make(map[string]*kgo.Record),
		fields: fieldsOf(b.rel.Inputs[0]), keyCols: make([]*column.Column, len(t.Kafka.Key.Columns)), valueCols: make([]*column.Column, len(t.Kafka.Value.Columns)),
	}
	if w.discards = t.Discards(); w.discards {
		return w, nil
	}
	if limit := b.task.maxBytes; limit != nil {
		w.limit = limit(t.Kafka.Topic)
	}
	var err error
	if t.Kafka.Key.Name != "" {
		if w.key, err = format.NewEncoder(t.Kafka.Key.Name, t.Kafka.Key.Fields, t.Kafka.Key.Options, b.task.schemas); err != nil {
			return nil, err
		}
	}
	if w.value, err = format.NewEncoder(t.Kafka.Value.Name, t.Kafka.Value.Fields, t.Kafka.Value.Options, b.task.schemas); err != nil {
		return nil, err
	}
	for i, c := range t.Columns {
		from := op.Columns[i]
		switch {
		case from < 0:
			w.nulls[i] = &column.Column{Type: c.Type}
		case c.Metadata == "timestamp":
			w.timestamp = from
		case c.Metadata == "headers":
			w.headers = from
		case c.Type.NotNull && c.Physical():
			w.notNull = append(w.notNull, i)
			if t.Upsert && slices.Contains(t.PrimaryKey, i) {
				w.keys = append(w.keys, i)
			}
		}
		if from >= 0 {
			w.fields[from] = format.Field{Name: c.Name, Type: c.Type}
			w.size(i, c.Type)
		}
	}
	return w, nil
}

// columns selects the columns of a batch that a format encodes.
func (w *writer) columns(into []*column.Column, of plan.Format, r *rowBatch) {
	for i, c := range of.Columns {
		if from := w.op.Columns[c]; from >= 0 {
			into[i] = r.Cols[from]
			continue
		}
		null := w.nulls[c]
		for null.Len() < r.N {
			null.AddNull()
		}
		into[i] = null
	}
}

func (w *writer) push(_ int, r *rowBatch) {
	if w.discards {
		w.counters.rows += int64(r.N)
		return
	}
	r = w.resized(r)
	w.columns(w.keyCols, w.table.Kafka.Key, r)
	w.columns(w.valueCols, w.table.Kafka.Value, r)
	for i := range r.N {
		if err := w.row(r, i); err != nil {
			w.task.rejectFor(w.table.Kafka.Topic, r, i, w.fields, fmt.Errorf("insert into %s: %w", w.table.Name, err))
		}
	}
	w.task.dropped(w.table, w.key, w.value)
}

// allowed reports whether a row has a value in all NOT NULL columns. For a deletion only the key
// counts: a row without a key was never written, but a row with a NULL elsewhere may have replaced
// one that was.
func (w *writer) allowed(r *rowBatch, i int, gone bool) (bool, error) {
	columns := w.notNull
	if gone && !w.table.Changes {
		columns = w.keys
	}
	for _, c := range columns {
		if !r.Cols[w.op.Columns[c]].Null[i] {
			continue
		}
		if !w.op.Sink.DropNulls {
			return false, fmt.Errorf("column %s is NOT NULL, but the value is NULL", w.table.Columns[c].Name)
		}
		if !gone {
			w.task.drop(w.table, DropRows, 1)
		}
		return false, nil
	}
	return true, nil
}

func (w *writer) row(r *rowBatch, i int) error {
	gone := r.kind(i).retracts()
	if ok, err := w.allowed(r, i, gone); !ok {
		return err
	}
	if err := w.wrongLength(r, i); err != nil {
		return err
	}
	rec := w.task.arena.record()
	rec.Topic, rec.Context = w.table.Kafka.Topic, r.context(i)
	if w.key != nil {
		key, err := w.key.Encode(w.task.arena.room(64), w.keyCols, i)
		if err != nil {
			return fmt.Errorf("key: %w", err)
		}
		rec.Key = w.task.arena.keep(key)
	}
	if !gone || w.table.Changes {
		room := w.task.arena.room(256)
		if w.table.Changes {
			room = append(room, r.kind(i).String()...)
		}
		value, err := w.value.Encode(room, w.valueCols, i)
		if err != nil {
			return fmt.Errorf("value: %w", err)
		}
		rec.Value = w.task.arena.keep(value)
	} else if !w.table.Upsert {
		return errors.New("a retraction can't be written to an append-only table")
	}
	w.metadata(rec, r, i)
	if err := w.fits(rec); err != nil {
		return err
	}
	if w.table.Upsert {
		k := string(rec.Key)
		if _, ok := w.changes[k]; !ok {
			w.order = append(w.order, k)
		}
		w.changes[k] = rec
		return nil
	}
	w.send(rec)
	return nil
}

// fits rejects a record that is too large for its topic and would block all later ones.
func (w *writer) fits(r *kgo.Record) error {
	if w.limit <= 0 {
		return nil
	}
	return broker.CheckSize(r, w.limit)
}

func (w *writer) metadata(rec *kgo.Record, r *rowBatch, i int) {
	if w.timestamp >= 0 {
		if c := r.Cols[w.timestamp]; !c.Null[i] {
			rec.Timestamp = time.UnixMicro(c.I[i])
		}
	}
	if w.headers >= 0 {
		if d, ok := r.Cols[w.headers].Value(i).(*column.Dict); ok {
			for n, k := range d.Keys {
				key, ok := k.(string)
				if !ok {
					continue // a header must have a key
				}
				h := kgo.RecordHeader{Key: key}
				if value, ok := d.Values[n].(string); ok { // NULL stays NULL
					h.Value = []byte(value)
				}
				rec.Headers = append(rec.Headers, h)
			}
		}
	}
}

// send assigns the partition that Kafka's default partitioner chooses for the record's key, or the
// task's own partition if the record has no key, and emits the record.
func (w *writer) send(rec *kgo.Record) {
	n := w.task.partitions(w.table.Kafka.Topic)
	if rec.Key != nil {
		rec.Partition = int32(w.partitioner.Partition(rec, int(n))) //nolint:gosec // fewer than n
	} else {
		rec.Partition = w.task.partition % n
	}
	w.counters.rows++
	w.task.out.emit(rec)
}

func (w *writer) finishTransaction() {
	for _, k := range w.order {
		w.send(w.changes[k])
	}
	clear(w.changes)
	w.order = w.order[:0]
}

func (w *writer) rollback() {
	clear(w.changes)
	w.order = w.order[:0]
}
