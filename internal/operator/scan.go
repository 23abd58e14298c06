package operator

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
)

// batchRows is the number of rows that are pushed through the operators in one batch.
const batchRows = 1024

// source is an operator that consumes records of a topic.
type source interface {
	node
	// consume processes records of the task's partition, in order.
	consume(all []*kgo.Record)
	// replayWatermark forwards the watermark that is stored in the state.
	replayWatermark()
	// ended reports whether the last row has been consumed.
	ended() bool
	// currentWatermark returns the watermark, and whether the source is idle.
	currentWatermark() (watermark int64, idle bool)
}

// scan decodes the records of a table into rows and generates their watermark.
type scan struct {
	base
	table         *plan.Table
	key, value    format.Decoder
	keyCols       []*column.Column
	valueCols     []*column.Column
	metadata      []metadataColumn
	computed      []computedColumn
	notNull       []int
	notNullKey    []int           // the subset in the key: the others are NULL in a deletion
	splitKey      format.Splitter // nil if a key always belongs to one row
	splitValue    format.Splitter
	raw           bool // a missing value is NULL, not an error
	versions      bool // a temporal join reads the rows, so that a deletion needs a time
	filter        *expr.Compiled
	watermarkExpr *expr.Compiled
	out           rowBatch

	watermark int64
	idle      bool
	saved     int64    // watermark in the state
	former    [][]byte // keys of the watermark under names that the table no longer has
}

type metadataColumn struct {
	to   *column.Column
	from func(*kgo.Record) any
}

type computedColumn struct {
	to *column.Column
	by *expr.Compiled
}

func newScan(b base, op *plan.Scan) (node, error) {
	t := op.Table
	s := &scan{base: b, table: t, versions: op.Versions, out: rowBatch{Batch: batch(b.rel), records: []*kgo.Record{}, watermarks: []rowWatermark{}}}
	if t.Upsert {
		s.out.kinds = []rowKind{}
	}
	cols := s.out.Cols
	inValue := make(map[int]bool)
	for _, c := range t.Kafka.Value.Columns {
		s.valueCols = append(s.valueCols, cols[c])
		inValue[c] = true
	}
	var err error
	if s.value, err = format.NewDecoder(t.Kafka.Value.Name, t.Kafka.Value.Fields, t.Kafka.Value.Options, b.task.schemas); err != nil {
		return nil, err
	}
	s.splitValue, _ = s.value.(format.Splitter)
	s.raw = t.Kafka.Value.Name == "raw"
	useKey := false
	for _, c := range t.Kafka.Key.Columns {
		if inValue[c] && !t.Upsert {
			s.keyCols = append(s.keyCols, nil) // the value takes precedence
			continue
		}
		s.keyCols = append(s.keyCols, cols[c])
		useKey = useKey || cols[c] != nil
	}
	if useKey {
		if s.key, err = format.NewDecoder(t.Kafka.Key.Name, t.Kafka.Key.Fields, t.Kafka.Key.Options, b.task.schemas); err != nil {
			return nil, err
		}
		s.splitKey, _ = s.key.(format.Splitter)
	}
	if t.Upsert { // the key takes precedence over the value
		for i, c := range t.Kafka.Value.Columns {
			for _, k := range t.PrimaryKey {
				if c == k {
					s.valueCols[i] = nil
				}
			}
		}
	}
	for i, c := range t.Columns {
		switch {
		case cols[i] == nil:
		case c.Computed != nil:
			s.computed = append(s.computed, computedColumn{cols[i], b.task.compile(c.Computed)})
		case c.Metadata != "":
			s.metadata = append(s.metadata, metadataColumn{cols[i], metadata[strings.TrimPrefix(c.Metadata, "value.")]})
		case c.Type.NotNull:
			s.notNull = append(s.notNull, i)
			if t.Upsert && slices.Contains(t.PrimaryKey, i) {
				s.notNullKey = append(s.notNullKey, i)
			}
		}
	}
	if op.Filter != nil {
		s.filter = b.task.compile(op.Filter)
	}
	if t.Watermark != nil {
		s.watermarkExpr = b.task.compile(t.Watermark)
		if b.task.program.Expires {
			s.out.times = []int64{}
		}
	}
	s.rollback()
	return s, nil
}

// metadata returns a record's metadata as column values.
var metadata = map[string]func(*kgo.Record) any{
	"topic":          func(r *kgo.Record) any { return r.Topic },
	"partition":      func(r *kgo.Record) any { return int64(r.Partition) },
	"offset":         func(r *kgo.Record) any { return r.Offset },
	"leader-epoch":   func(r *kgo.Record) any { return int64(r.LeaderEpoch) },
	"timestamp":      func(r *kgo.Record) any { return r.Timestamp.UnixMilli() * 1000 },
	"timestamp-type": timestampType,
	"headers": func(r *kgo.Record) any {
		d := &column.Dict{}
		for _, h := range r.Headers {
			var value any // NULL
			if h.Value != nil {
				value = string(h.Value)
			}
			d.Keys, d.Values = append(d.Keys, h.Key), append(d.Values, value)
		}
		return d
	},
}

func timestampType(r *kgo.Record) any {
	switch r.Attrs.TimestampType() {
	case 0:
		return "CreateTime"
	case 1:
		return "LogAppendTime"
	}
	return "NoTimestampType"
}

func (s *scan) consume(all []*kgo.Record) {
	s.idle = false
	for len(all) > 0 {
		n := min(len(all), batchRows)
		s.out.clear()
		for _, r := range all[:n] {
			rows := s.out.N
			if err := s.record(r); err != nil {
				s.truncate(rows)
				s.task.deadLetter(r, err)
			}
		}
		s.task.dropped(s.table, s.value, s.key)
		all = all[n:]
		s.emit(&s.out)
		if s.watermarkExpr != nil {
			s.forwardWatermark(s.watermark, false)
		}
	}
}

// truncate keeps n rows and discards the values that a failed row has left in the columns.
func (s *scan) truncate(n int) {
	s.out.Err = nil
	for _, c := range s.out.Cols {
		if c != nil && c.Len() > n {
			c.Truncate(n)
		}
	}
	s.out.N = n
	s.out.records, s.out.watermarks = s.out.records[:n], s.out.watermarks[:n]
	if s.out.times != nil {
		s.out.times = s.out.times[:n]
	}
	if s.out.kinds != nil {
		s.out.kinds = s.out.kinds[:n]
	}
}

var (
	errNoValue = deadletter.Because(deadletter.Missing, errors.New("the record has no value"))
	errNoKey   = deadletter.Because(deadletter.Missing, errors.New("the record has no key, which an upsert table requires"))
)

// record adds the rows of a record: all of them, or none and an error.
func (s *scan) record(r *kgo.Record) error {
	if err := broker.Withheld(r); err != nil {
		return deadletter.Because(deadletter.Unreadable, err)
	}
	values, several, err := split(s.splitValue, r.Value)
	if err != nil {
		return deadletter.Because(deadletter.Undecodable, fmt.Errorf("value: %w", err))
	}
	keys, severalKeys, err := split(s.splitKey, r.Key)
	switch {
	case err != nil:
		return deadletter.Because(deadletter.Undecodable, fmt.Errorf("key: %w", err))
	case !several && !severalKeys:
		return s.row(r, r.Key, r.Value)
	case !several:
		values = [][]byte{r.Value}
	case !severalKeys:
		keys = [][]byte{r.Key}
	}
	before := s.watermark
	for i, value := range values { // the cross product of values and keys, as in Flink
		for _, key := range keys {
			if err := s.row(r, key, value); err != nil {
				s.watermark = before
				return fmt.Errorf("row %d of %d: %w", i+1, len(values), err)
			}
		}
	}
	return nil
}

// split returns the documents of a key or value that has several rows; several is false if it has
// one.
func split(by format.Splitter, data []byte) (documents [][]byte, several bool, err error) {
	if by == nil || data == nil {
		return nil, false, nil
	}
	return by.Split(data)
}

// row adds one row of a record, unless the filter drops it.
func (s *scan) row(r *kgo.Record, key, value []byte) error {
	change := kindInsert
	if s.table.Upsert {
		change = kindUpdateAfter
	}
	switch {
	case value != nil || s.raw && !s.table.Upsert:
		if err := s.value.Decode(value, s.valueCols); err != nil {
			if errors.Is(err, format.ErrSkip) {
				return nil
			}
			return deadletter.Because(deadletter.Undecodable, fmt.Errorf("value: %w", err))
		}
	case s.table.Upsert:
		change = kindDelete
		addNulls(s.valueCols)
	default:
		return errNoValue
	}
	if s.key != nil {
		switch err := s.decodeKey(key); {
		case errors.Is(err, format.ErrSkip):
			s.truncate(s.out.N)
			return nil
		case err != nil:
			return err
		}
	}
	return s.complete(r, change)
}

// decodeKey adds the columns of a key. They are NULL for a record without a key.
func (s *scan) decodeKey(key []byte) error {
	if key == nil {
		if s.table.Upsert {
			return errNoKey
		}
		addNulls(s.keyCols)
		return nil
	}
	err := s.key.Decode(key, s.keyCols)
	if err != nil && !errors.Is(err, format.ErrSkip) {
		return deadletter.Because(deadletter.Undecodable, fmt.Errorf("key: %w", err))
	}
	return err
}

func addNulls(cols []*column.Column) {
	for _, c := range cols {
		if c != nil {
			c.AddNull()
		}
	}
}

// complete adds the columns that are in neither the key nor the value of a row, advances the
// watermark, and drops the row if the filter rejects it.
func (s *scan) complete(r *kgo.Record, change rowKind) error {
	row := s.out.N
	if ms := r.Timestamp.UnixMilli(); len(s.metadata) > 0 && !column.Fits(ms/86_400_000, column.Date) {
		return fmt.Errorf("the record's timestamp, %d ms, is more than 290,000 years away", ms)
	}
	for _, m := range s.metadata {
		m.to.Add(m.from(r))
	}
	for _, c := range s.computed {
		c.by.Into(c.to, s.out.Batch, row)
	}
	if s.out.Err != nil {
		return deadletter.Because(deadletter.Computation, s.out.Err)
	}
	notNull := s.notNull
	if change == kindDelete {
		notNull = s.notNullKey
	}
	for _, i := range notNull {
		if s.out.Cols[i].Null[row] {
			return deadletter.Because(deadletter.Missing, fmt.Errorf("column %s is NOT NULL, but the record has no value for it", s.rel.Cols[i].Name))
		}
	}
	before := s.watermark
	if s.watermarkExpr != nil && !s.deletedWithoutTime(row, change) {
		if s.out.Cols[s.table.Rowtime].Null[row] {
			return deadletter.Because(deadletter.Missing, fmt.Errorf("column %s is NULL, but a row needs its time", s.rel.Cols[s.table.Rowtime].Name))
		}
		watermark, ok := s.watermarkExpr.I(s.out.Batch, row)
		if s.out.Err != nil {
			return deadletter.Because(deadletter.Computation, fmt.Errorf("watermark: %w", s.out.Err))
		}
		switch {
		case !ok || watermark <= s.watermark || s.watermark == maxWatermark:
		case s.ahead(s.out.Cols[s.table.Rowtime].I[row]):
			s.task.out.Ahead++
		default:
			s.watermark = watermark
		}
	}
	if s.filter != nil && change != kindDelete {
		s.task.moment.Watermark = before
		pass := s.filter.True(s.out.Batch, row)
		if s.out.Err != nil {
			return deadletter.Because(deadletter.Computation, s.out.Err)
		}
		if !pass {
			s.truncate(row)
			return nil
		}
	}
	s.out.N++
	s.out.records, s.out.watermarks = append(s.out.records, r), append(s.out.watermarks, rowWatermark(before))
	if s.out.times != nil {
		s.out.times = append(s.out.times, s.watermark)
	}
	if s.out.kinds != nil {
		s.out.kinds = append(s.out.kinds, change)
	}
	return nil
}

// deletedWithoutTime reports whether a row is a deletion whose time is NULL, and needs none: the
// value of a tombstone has no columns.
func (s *scan) deletedWithoutTime(row int, change rowKind) bool {
	return change == kindDelete && !s.versions && s.out.Cols[s.table.Rowtime].Null[row]
}

// ahead reports whether a time is too far in the future for the watermark to follow, because a
// device's clock is wrong. A TIMESTAMP, which has no zone, is interpreted in the session's zone.
func (s *scan) ahead(at int64) bool {
	most := s.task.program.Settings.MaxAhead
	if most == 0 {
		return false
	}
	limit := s.task.now.Add(most).UnixMicro()
	if s.rel.Cols[s.table.Rowtime].Type.Kind == column.Timestamp {
		limit = expr.ToLocal(limit, s.task.program.Zone)
	}
	return at > limit
}

// end announces that no more records follow.
func (s *scan) end() {
	s.watermark = maxWatermark
	s.forwardWatermark(maxWatermark, false)
}

func (s *scan) ended() bool { return s.watermark == maxWatermark }

func (s *scan) currentWatermark() (watermark int64, idle bool) { return s.watermark, s.idle }

func (s *scan) setIdle() {
	s.idle = true
	s.forwardWatermark(s.watermark, true)
}

func (s *scan) stateKey() []byte { return []byte(watermarkKey(s.rel.Topic(), s.table)) }

func (s *scan) finishTransaction() {
	if s.watermark != s.saved && s.task.stage.Stateful {
		s.task.store.Put(watermarkEntry, 0, s.stateKey(), appendInt(nil, s.watermark))
		for _, key := range s.former {
			s.task.store.Delete(watermarkEntry, 0, key)
		}
		s.saved, s.former = s.watermark, nil
	}
}

// absent reports whether the topic has no partition for the task, because another topic of the
// stage has more: no row will come from it.
func (s *scan) absent() bool { return s.task.partition >= s.task.partitions(s.table.Kafka.Topic) }

func (s *scan) rollback() {
	s.watermark, s.saved, s.former, s.idle = minWatermark, minWatermark, nil, false
	if s.absent() {
		s.watermark, s.saved = maxWatermark, maxWatermark
		return
	}
	if v, ok := s.task.store.Get(watermarkEntry, 0, s.stateKey()); ok {
		s.watermark = (&reader{b: v}).int64()
		s.saved = s.watermark
		return
	}
	s.renamed()
}

// renamed gives a table without a watermark that of the table that the stage has read from the
// topic under a name that it does not use any more. If there were several, it is the lowest.
func (s *scan) renamed() {
	topic := []byte(s.rel.Topic() + "/")
	s.task.store.ScanPrefix(watermarkEntry, 0, topic, func(key, value []byte) bool {
		if !s.task.readsTable(string(key)) {
			s.former = append(s.former, bytes.Clone(key))
			watermark := (&reader{b: value}).int64()
			if len(s.former) == 1 || watermark < s.watermark {
				s.watermark = watermark
			}
		}
		return true
	})
}

// readsTable reports whether the stage reads the table whose watermark has a key in the state.
func (t *Task) readsTable(key string) bool {
	return slices.ContainsFunc(t.stage.Relations, func(r *plan.Relation) bool {
		op, ok := r.Op.(*plan.Scan)
		return ok && watermarkKey(r.Topic(), op.Table) == key
	})
}

// watermarkKey is the key of a table's watermark in the state.
func watermarkKey(topic string, table *plan.Table) string { return topic + "/" + table.Name }

func (s *scan) replayWatermark() {
	if s.watermark != minWatermark {
		s.forwardWatermark(s.watermark, false)
	}
}

func appendInt(dst []byte, v int64) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(v)) //nolint:gosec // bits of an int64
}
