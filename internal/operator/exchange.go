package operator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

// A record of a repartition topic has in its value a row (its kind and flags, the watermark before
// it, what the flags say, and the columns that somebody reads), or the watermark of the task that
// wrote it: its partition, how many there are, the watermark, and whether it is idle. A watermark
// goes to all partitions, behind the rows that came before it. What is late is told by the row's
// own watermark: that of the task is written at the end of a transaction, and where one ends must
// not matter.
const (
	rowRecord       = 'r'
	watermarkRecord = 'w'
)

// Flags in the byte of a row's kind.
const (
	lanedRow byte = 1 << 4 // its lane follows; other rows are of lane 0
	againRow byte = 1 << 5 // a later window of the same row follows
	allFlags      = lanedRow | againRow
)

// sender writes rows to the partition of their keys.
type sender struct {
	base
	keys      []int
	topic     string
	keyBuffer []byte

	watermark int64
	idle      bool
	sentMark  int64
	sentIdle  bool
}

func newSender(b base, op *plan.Exchange) *sender {
	s := &sender{base: b, keys: op.Keys, topic: op.Topic}
	s.reset()
	return s
}

func (s *sender) push(_ int, r *rows) {
	// The receiver's columns are those of the input that somebody reads behind the exchange.
	out := *r.Batch
	out.Cols = append(out.Cols[:0:0], r.Cols...)
	for i := range out.Cols {
		if !s.rel.Needed[i] && !s.isKey(i) {
			out.Cols[i] = nil
		}
	}
	s.said.rows += int64(r.N)
	partitions := s.task.partitions(s.topic)
	for i := range r.N {
		s.keyBuffer = appendKey(s.keyBuffer[:0], r.Batch, s.keys, i)
		h := fnv.New32a()
		_, _ = h.Write(s.keyBuffer)
		value := s.head(append(s.task.arena.room(64), rowRecord), r, i)
		value = appendRow(value, &out, i)
		rec := s.task.arena.record()
		rec.Topic, rec.Partition = s.topic, int32(h.Sum32()%uint32(partitions)) //nolint:gosec // few partitions
		rec.Value, rec.Context = s.task.arena.keep(value), r.context(i)
		s.task.out.emit(rec)
	}
}

// head appends what is known of a row beside its columns.
func (s *sender) head(value []byte, r *rows, i int) []byte {
	flags := byte(r.kind(i))
	from := r.lane(i)*lane(s.task.peers) + lane(s.task.partition)
	if from != 0 {
		flags |= lanedRow
	}
	if r.again(i) {
		flags |= againRow
	}
	value = appendInt(append(value, flags), int64(r.mark(i, s.watermark)))
	if from != 0 {
		value = binary.AppendVarint(value, int64(from))
	}
	return value
}

func (s *sender) isKey(i int) bool {
	for _, k := range s.keys {
		if k == i {
			return true
		}
	}
	return false
}

func (s *sender) advance(_ int, watermark int64, idle bool) {
	s.watermark, s.idle = max(s.watermark, watermark), idle
	s.pass(s.watermark, idle)
}

// flush writes the watermark behind the transaction's rows.
func (s *sender) flush() {
	if s.watermark == s.sentMark && s.idle == s.sentIdle || s.watermark == unknown && !s.idle {
		return
	}
	s.sentMark, s.sentIdle = s.watermark, s.idle
	value := append(s.task.arena.room(32), watermarkRecord)
	value = appendInt(value, int64(s.task.partition))
	value = appendInt(value, int64(s.task.peers))
	value = appendInt(value, s.watermark)
	value = append(value, map[bool]byte{true: 1}[s.idle])
	value = s.task.arena.keep(value)
	for p := range s.task.partitions(s.topic) {
		s.task.out.emit(&kgo.Record{Topic: s.topic, Partition: p, Value: value})
	}
}

func (s *sender) reset() {
	s.watermark, s.idle, s.sentMark, s.sentIdle = unknown, false, unknown, false
}

// receiver reads what senders have written.
type receiver struct {
	base
	topic string
	out   rows
	peers map[int64]upstream // by partition of the sender
	count int64
	now   int64 // least watermark that all peers have reached; it never falls
	saved int64 // of now, in the state
}

type upstream struct {
	watermark int64
	idle      bool
}

func newReceiver(b base, op *plan.Exchange) *receiver {
	out := rows{Batch: batch(b.rel), marks: []rowMark{}, lanes: []lane{}, more: []bool{}}
	for _, k := range op.Keys {
		if out.Cols[k] == nil {
			out.Cols[k] = newColumn(b.rel, k)
		}
	}
	if b.rel.Inputs[0].Updating || b.rel.Updating {
		out.kinds = []kind{}
	}
	r := &receiver{base: b, topic: op.Topic, out: out}
	r.reset()
	return r
}

var errRepartition = errors.New("no record of a repartition topic: it belongs to another version of the pipeline, or something else has written to it")

func (r *receiver) records(all []*kgo.Record) {
	for _, rec := range all {
		in := &reader{b: rec.Value}
		switch in.byte() {
		case rowRecord:
			flags, mark, from := in.byte(), in.int64(), int64(0)
			if flags&lanedRow != 0 {
				from = in.varint()
			}
			in.row(r.out.Batch)
			if in.err != nil || len(in.b) > 0 {
				r.task.fail(fmt.Errorf("%s-%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, errRepartition))
				return
			}
			r.out.marks, r.out.lanes, r.out.more = append(r.out.marks, rowMark(mark)), append(r.out.lanes, lane(from)), append(r.out.more, flags&againRow != 0)
			if r.task.traced {
				r.out.from = append(r.out.from, onlyContext(rec.Context))
			}
			if r.out.kinds != nil {
				r.out.kinds = append(r.out.kinds, kind(flags&^allFlags))
			}
			if r.out.N == batchRows {
				r.deliver()
			}
		case watermarkRecord:
			partition, count, watermark, idle := in.int64(), in.int64(), in.int64(), in.byte() == 1
			if in.err != nil {
				r.task.fail(fmt.Errorf("%s-%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, errRepartition))
				return
			}
			r.hear(partition, count, upstream{watermark, idle})
		default:
			r.task.fail(fmt.Errorf("%s-%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, errRepartition))
			return
		}
	}
	r.deliver()
}

func (r *receiver) deliver() {
	r.emit(&r.out)
	r.clear()
}

func (r *receiver) clear() {
	r.out.clear()
}

// hear takes the watermark of one peer.
func (r *receiver) hear(partition, count int64, u upstream) {
	old, known := r.peers[partition]
	if known {
		u.watermark = max(u.watermark, old.watermark)
	}
	r.peers[partition] = u
	r.count = max(r.count, count)
	value := appendInt(appendInt(nil, count), u.watermark)
	r.task.store.Put(watermarks, 0, r.stateKey(partition), append(value, map[bool]byte{true: 1}[u.idle]))
	if least, idle := r.least(); least > r.now || idle {
		r.deliver()
		r.now = max(r.now, least)
		r.pass(r.now, idle)
	}
	if r.now != r.saved {
		r.saved = r.now
		r.task.store.Put(watermarks, 0, r.reachedKey(), appendInt(nil, r.now))
	}
}

// least is the watermark that all peers have reached, those that are idle aside.
func (r *receiver) least() (watermark int64, idle bool) {
	if int64(len(r.peers)) < r.count || r.count == 0 {
		return unknown, false
	}
	p := newProgress(len(r.peers))
	i := 0
	for _, u := range r.peers {
		watermark, idle = p.advance(i, u.watermark, u.idle)
		i++
	}
	return watermark, idle
}

const (
	peerKey    = "peer of "
	reachedKey = "reached by all peers of " // absent in states of versions that kept the peers' only
)

func (r *receiver) stateKey(partition int64) []byte {
	return appendInt([]byte(peerKey+r.topic+"/"), partition)
}

func (r *receiver) reachedKey() []byte { return []byte(reachedKey + r.topic) }

// reset restores the watermark that was reached apart from those of the peers: where there are
// more of them than before, theirs tell nothing until all have spoken, while windows are out.
func (r *receiver) reset() {
	r.peers, r.count, r.now, r.saved = make(map[int64]upstream), 0, unknown, unknown
	r.clear()
	prefix := peerKey + r.topic + "/"
	r.task.store.Scan(watermarks, 0, func(key, value []byte) bool {
		if len(key) == len(prefix)+8 && string(key[:len(prefix)]) == prefix {
			in := &reader{b: value}
			r.count = max(r.count, in.int64())
			r.peers[(&reader{b: key[len(prefix):]}).int64()] = upstream{in.int64(), in.byte() == 1}
		}
		return true
	})
	if value, known := r.task.store.Get(watermarks, 0, r.reachedKey()); known {
		in := &reader{b: value}
		r.saved = in.int64()
		if in.err != nil {
			r.task.fail(errState)
		}
	}
	least, _ := r.least()
	r.now = max(r.saved, least)
}

func (r *receiver) announce() {
	if r.now != unknown {
		r.pass(r.now, false)
	}
}

func (r *receiver) ended() bool { return r.now == forever }

func (r *receiver) progress() (watermark int64, idle bool) {
	_, idle = r.least()
	return r.now, idle
}
