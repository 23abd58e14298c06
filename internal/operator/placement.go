package operator

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
)

// MisplacedRecordError reports a record that is not in the partition of its key, where it would
// miss the other rows of the key.
type MisplacedRecordError struct {
	Topic      string
	Partition  int32
	Offset     int64  // -1 if unknown
	Key        string // its fields as JSON
	Want       int32  // the partition that murmur2 assigns to the key
	Partitions int32  // number of partitions of the topic
	Null       bool   // a column of the key is NULL
}

// Error names the record and the possible remedies.
func (e *MisplacedRecordError) Error() string {
	cause := fmt.Sprintf("its producer places keys in another way (kcat and librdkafka do by default: partitioner=murmur2_random changes that; so does Sarama), "+
		"or spells keys in another way than Flink, or the topic had other than %d partitions when the record was written", e.Partitions)
	if e.Null {
		cause = "producers put records without a key into any partition"
	}
	return fmt.Sprintf("topic %s, partition %d, offset %d: key %s belongs in partition %d by murmur2, the hash of Kafka's Java client, on which this pipeline relies to bring rows of one key together: %s. "+
		"SET 'weir.key-partitioning' = 'any' reads such topics through a repartition topic (Flink ignores the setting); 'murmur2' is the default",
		e.Topic, e.Partition, e.Offset, e.Key, e.Want, cause)
}

// homes computes the partitions that Kafka's Java client assigns to keys. It uses the values of the
// key's columns in the table's own encoding, not the bytes of a record's key: a key may have
// several encodings, and the columns may come from the record's value.
type homes struct {
	encoder    format.Encoder
	plain      bool             // the key is the text of its only column
	cols       []*column.Column // of the key, in the order of its fields
	partitions int32
	hash       kgo.TopicPartitioner
	record     kgo.Record
	key        []byte
}

func newHomes(at *plan.Placement, partitions int32, schemas *format.Schemas) (homes, error) {
	key := at.Tables[0].Kafka.Key
	encoder, err := format.NewEncoder(key.Name, key.Fields, key.Options, schemas)
	if err != nil {
		return homes{}, err
	}
	return homes{
		encoder: encoder, partitions: partitions, hash: kgo.StickyKeyPartitioner(nil).ForTopic(""),
		plain: key.Name == "raw" && key.Fields[0].Type.Class() == column.Texts,
		cols:  make([]*column.Column, len(at.Columns)), key: []byte{},
	}, nil
}

// null reports whether a column of a row's key is NULL.
func (h *homes) null(i int) bool {
	return slices.ContainsFunc(h.cols, func(c *column.Column) bool { return c.Null[i] })
}

// of returns the partition of a row's key.
func (h *homes) of(i int) (int32, error) {
	if h.plain && !h.cols[0].Null[i] {
		h.record.Key = h.key[:0] // not nil: a nil key has no fixed partition
		if text := h.cols[0].S[i]; text != "" {
			h.record.Key = unsafe.Slice(unsafe.StringData(text), len(text))
		}
	} else {
		key, err := h.encode(i)
		if err != nil {
			return 0, err
		}
		h.record.Key = key
	}
	return int32(h.hash.Partition(&h.record, int(h.partitions))), nil //nolint:gosec // fewer than partitions
}

// encode returns the key of a row in its table's format, empty if the format writes none. The float
// -0 counts as 0, as in grouping.
func (h *homes) encode(i int) ([]byte, error) {
	cols, row := h.cols, i
	if slices.ContainsFunc(cols, func(c *column.Column) bool { return isZero(c, i) }) {
		cols, row = make([]*column.Column, len(h.cols)), 0
		for n, c := range h.cols {
			cols[n] = &column.Column{Type: c.Type}
			if isZero(c, i) {
				cols[n].AddFloat(0)
			} else {
				cols[n].AddFrom(c, i)
			}
		}
	}
	key, err := h.encoder.Encode(h.key[:0], cols, row)
	if key == nil {
		return h.key[:0], err
	}
	h.key = key
	return key, err
}

func isZero(c *column.Column, row int) bool {
	return c.Type.Class() == column.Floats && !c.Null[row] && c.F[row] == 0
}

// placement wraps an operator that relies on the partitioning of topics and checks that each row is
// in the partition of its key.
type placement struct {
	node
	homes
	task *Task
	at   *plan.Placement
}

// placed wraps an operator in a placement if its relation relies on one.
func (t *Task) placed(n node, r *plan.Relation, input int) (node, error) {
	at := r.Placement(input)
	if at == nil {
		return n, nil
	}
	partitions := t.partitions(at.Tables[0].Kafka.Topic)
	if partitions == 1 {
		return n, nil
	}
	h, err := newHomes(at, partitions, t.schemas)
	if err != nil {
		return nil, err
	}
	return &placement{node: n, homes: h, task: t, at: at}, nil
}

func (p *placement) push(in int, r *rowBatch) {
	for i, c := range p.at.Columns {
		p.cols[i] = r.Cols[c]
	}
	for i := range r.N {
		if !p.row(r, i) {
			return
		}
	}
	p.node.push(in, r)
}

// row reports whether a row is in the partition of its key.
func (p *placement) row(r *rowBatch, i int) bool {
	if !p.at.Nulls && p.null(i) {
		return true
	}
	want, err := p.of(i)
	if err != nil {
		p.task.fail(fmt.Errorf("key of a record of topic %s: %w", p.at.Tables[0].Kafka.Topic, err))
		return false
	}
	if want == p.task.partition {
		return true
	}
	p.task.fail(p.misplaced(r, i, want))
	return false
}

func (p *placement) misplaced(r *rowBatch, i int, want int32) error {
	e := &MisplacedRecordError{Topic: p.at.Tables[0].Kafka.Topic, Partition: p.task.partition, Offset: -1, Want: want, Partitions: p.partitions}
	if from := r.record(i); from != nil && from.Topic != "" {
		e.Topic, e.Partition, e.Offset = from.Topic, from.Partition, from.Offset
	}
	e.Null = p.null(i)
	if shown, err := format.NewEncoder("json", p.at.Tables[0].Kafka.Key.Fields, nil, nil); err == nil {
		key, _ := shown.Encode(nil, p.cols, i)
		e.Key = string(key)
	}
	return e
}
