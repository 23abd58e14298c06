package operator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

// The value of a record in a repartition topic is a row (its kind and flags, the watermark before
// it, optional fields by its flags, and the needed columns), several rows, each preceded by its
// length, or the watermark of the task that wrote it (its partition, the number of partitions, the
// watermark, and whether it is idle). Rows of a batch for the same partition share a record, since
// a record costs more than a row. A
// watermark is written to all partitions, after the rows that precede it. Lateness is decided by
// the row's own watermark: the task's is written at the end of a transaction, and transaction
// boundaries must not matter.
const (
	rowRecord       = 'r'
	rowsRecord      = 'R'
	watermarkRecord = 'w'
)

// sharedBytes is the size from which rows are not added to a record. It is small compared with the
// transactions that consumers can end only between records.
const sharedBytes = 16 << 10

// Flags in the byte of a row's kind.
const (
	rowHasLane byte = 1 << 4 // the lane follows; otherwise it is 0
	rowHasMore byte = 1 << 5 // the same row follows with a later window
	rowHasTime byte = 1 << 6 // the watermark after the row follows
	rowFlags        = rowHasLane | rowHasMore | rowHasTime
)

// shuffleWriter writes rows to the partitions of their keys, or to all partitions.
type shuffleWriter struct {
	base
	keys      []int
	broadcast bool
	topic     string
	keyBuffer []byte
	rowBuffer []byte
	shared    []sharedRows // by partition, within a push

	watermark     int64
	idle          bool
	sentWatermark int64
	sentIdle      bool
}

func newShuffleWriter(b base, op *plan.Exchange) *shuffleWriter {
	s := &shuffleWriter{base: b, keys: op.Keys, broadcast: op.Broadcast, topic: op.Topic}
	s.rollback()
	return s
}

func (s *shuffleWriter) push(_ int, r *rowBatch) {
	// The reader's columns are the input's columns that are needed after the shuffle.
	out := *r.Batch
	out.Cols = append(out.Cols[:0:0], r.Cols...)
	for i := range out.Cols {
		if !s.rel.Needed[i] && !s.isKey(i) {
			out.Cols[i] = nil
		}
	}
	s.counters.rows += int64(r.N)
	partitions := s.task.partitions(s.topic)
	for i := range r.N {
		first, end := int32(0), partitions
		if !s.broadcast {
			s.keyBuffer = appendKey(s.keyBuffer[:0], r.Batch, s.keys, i)
			h := fnv.New32a()
			_, _ = h.Write(s.keyBuffer)
			first = int32(h.Sum32() % uint32(partitions)) //nolint:gosec // few partitions
			end = first + 1
		}
		s.rowBuffer = appendRow(s.appendRowHeader(s.rowBuffer[:0], r, i), &out, i)
		for p := first; p < end; p++ {
			s.share(r.context(i), p)
		}
	}
	for p := range s.shared {
		s.send(untraced, int32(p)) //nolint:gosec // few partitions
	}
}

// untraced is the context of a record whose rows are not traced.
var untraced context.Context

// sharedRows are rows that are sent in one record.
type sharedRows struct {
	rows  int
	bytes []byte // each row preceded by its length
}

// share adds the row in rowBuffer to the record for a partition. A traced row and a large one have
// records of their own.
func (s *shuffleWriter) share(traced context.Context, p int32) {
	for len(s.shared) <= int(p) {
		s.shared = append(s.shared, sharedRows{})
	}
	if traced != nil || len(s.rowBuffer) >= sharedBytes {
		s.send(untraced, p)
	}
	to := &s.shared[p]
	to.rows, to.bytes = to.rows+1, appendBytes(to.bytes, s.rowBuffer)
	if traced != nil || len(to.bytes) >= sharedBytes {
		s.send(traced, p)
	}
}

// send sends the rows for a partition, if there are any.
func (s *shuffleWriter) send(traced context.Context, p int32) {
	from := &s.shared[p]
	if from.rows == 0 {
		return
	}
	tag, rows := byte(rowsRecord), from.bytes
	if from.rows == 1 {
		_, n := binary.Uvarint(rows)
		tag, rows = rowRecord, rows[n:]
	}
	value := append(append(s.task.arena.room(1+len(rows)), tag), rows...)
	rec := s.task.arena.record()
	rec.Topic, rec.Partition, rec.Value, rec.Context = s.topic, p, s.task.arena.keep(value), traced
	s.task.out.emit(rec)
	from.rows, from.bytes = 0, from.bytes[:0]
}

// appendRowHeader appends a row's metadata.
func (s *shuffleWriter) appendRowHeader(value []byte, r *rowBatch, i int) []byte {
	flags := byte(r.kind(i))
	from := r.lane(i)*lane(s.task.peers) + lane(s.task.partition)
	if from != 0 {
		flags |= rowHasLane
	}
	if r.hasMore(i) {
		flags |= rowHasMore
	}
	if r.times != nil {
		flags |= rowHasTime
	}
	value = appendInt(append(value, flags), int64(r.watermark(i, s.watermark)))
	if from != 0 {
		value = binary.AppendVarint(value, int64(from))
	}
	if r.times != nil {
		value = appendInt(value, r.times[i])
	}
	return value
}

func (s *shuffleWriter) isKey(i int) bool {
	for _, k := range s.keys {
		if k == i {
			return true
		}
	}
	return false
}

func (s *shuffleWriter) advance(_ int, watermark int64, idle bool) {
	s.watermark, s.idle = max(s.watermark, watermark), idle
	s.forwardWatermark(s.watermark, idle)
}

// finishTransaction writes the watermark after the transaction's rows.
func (s *shuffleWriter) finishTransaction() {
	if s.watermark == s.sentWatermark && s.idle == s.sentIdle || s.watermark == minWatermark && !s.idle {
		return
	}
	s.sentWatermark, s.sentIdle = s.watermark, s.idle
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

func (s *shuffleWriter) rollback() {
	s.shared = nil
	s.watermark, s.idle, s.sentWatermark, s.sentIdle = minWatermark, false, minWatermark, false
}

// shuffleReader reads the records of shuffle writers.
type shuffleReader struct {
	base
	topic string
	out   rowBatch
	peers map[int64]peerWatermark // by partition of the writer
	count int64                   // number of writers
	now   int64                   // minimum watermark of all peers; it never decreases
	saved int64                   // now as in the state
}

type peerWatermark struct {
	watermark int64
	idle      bool
}

func newShuffleReader(b base, op *plan.Exchange) (node, error) {
	out := rowBatch{Batch: batch(b.rel), watermarks: []rowWatermark{}, lanes: []lane{}, more: []bool{}}
	for _, k := range op.Keys {
		if out.Cols[k] == nil {
			out.Cols[k] = newColumn(b.rel, k)
		}
	}
	if b.rel.Inputs[0].Updating || b.rel.Updating {
		out.kinds = []rowKind{}
	}
	if b.task.program.Expires && b.rel.Dated() {
		out.times = []int64{}
	}
	r := &shuffleReader{base: b, topic: op.Topic, out: out}
	r.rollback()
	return r, nil
}

var errRepartition = errors.New("invalid record in a repartition topic: it was written by another version of the pipeline, or by another program")

func (r *shuffleReader) consume(all []*kgo.Record) {
	for _, rec := range all {
		in := &reader{b: rec.Value, alias: true}
		switch in.byte() {
		case rowRecord:
			if r.row(in, rec); in.err != nil {
				r.task.fail(fmt.Errorf("%s-%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, errRepartition))
				return
			}
		case rowsRecord:
			for len(in.b) > 0 && in.err == nil {
				one := &reader{b: in.bytes(), alias: true}
				if in.err == nil {
					r.row(one, rec)
					in.err = one.err
				}
			}
			if in.err != nil {
				r.task.fail(fmt.Errorf("%s-%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, errRepartition))
				return
			}
		case watermarkRecord:
			partition, count, watermark, idle := in.int64(), in.int64(), in.int64(), in.byte() == 1
			if in.err != nil || partition < 0 || partition >= count { // a false count would hold the watermark back forever
				r.task.fail(fmt.Errorf("%s-%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, errRepartition))
				return
			}
			r.onPeerWatermark(partition, count, peerWatermark{watermark, idle})
		default:
			r.task.fail(fmt.Errorf("%s-%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, errRepartition))
			return
		}
	}
	r.deliver()
}

// row adds the row that in contains, and nothing else.
func (r *shuffleReader) row(in *reader, rec *kgo.Record) {
	flags, watermark, from, time := in.byte(), in.int64(), int64(0), minWatermark
	if flags&rowHasLane != 0 {
		from = in.varint()
	}
	if flags&rowHasTime != 0 {
		time = in.int64()
	}
	in.row(r.out.Batch)
	if in.err != nil || len(in.b) > 0 {
		in.fail()
		return
	}
	r.out.watermarks, r.out.lanes, r.out.more = append(r.out.watermarks, rowWatermark(watermark)), append(r.out.lanes, lane(from)), append(r.out.more, flags&rowHasMore != 0)
	if r.out.times != nil {
		r.out.times = append(r.out.times, time)
	}
	if r.task.traced {
		r.out.records = append(r.out.records, onlyContext(rec.Context))
	}
	if r.out.kinds != nil {
		r.out.kinds = append(r.out.kinds, rowKind(flags&^rowFlags))
	}
	if r.out.N == batchRows {
		r.deliver()
	}
}

func (r *shuffleReader) deliver() {
	r.emit(&r.out)
	r.clear()
}

func (r *shuffleReader) clear() {
	r.out.clear()
}

// onPeerWatermark processes the watermark of one peer.
func (r *shuffleReader) onPeerWatermark(partition, count int64, u peerWatermark) {
	old, known := r.peers[partition]
	if known {
		u.watermark = max(u.watermark, old.watermark)
	}
	r.peers[partition] = u
	r.count = max(r.count, count)
	value := appendInt(appendInt(nil, count), u.watermark)
	r.task.store.Put(watermarkEntry, 0, r.stateKey(partition), append(value, map[bool]byte{true: 1}[u.idle]))
	if least, idle := r.least(); least > r.now || idle {
		r.deliver()
		r.now = max(r.now, least)
		r.forwardWatermark(r.now, idle)
	}
	if r.now != r.saved {
		r.saved = r.now
		r.task.store.Put(watermarkEntry, 0, r.reachedKey(), appendInt(nil, r.now))
	}
}

// least returns the minimum watermark of all peers that are not idle.
func (r *shuffleReader) least() (watermark int64, idle bool) {
	if int64(len(r.peers)) < r.count || r.count == 0 {
		return minWatermark, false
	}
	p := newWatermarkMerger(len(r.peers))
	i := 0
	for _, u := range r.peers {
		watermark, idle = p.advance(i, u.watermark, u.idle)
		i++
	}
	return watermark, idle
}

const (
	peerKey    = "peer of "
	reachedKey = "reached by all peers of " // absent from the state of older versions, which stored only the peers'
)

func (r *shuffleReader) stateKey(partition int64) []byte {
	return appendInt([]byte(peerKey+r.topic+"/"), partition)
}

func (r *shuffleReader) reachedKey() []byte { return []byte(reachedKey + r.topic) }

// rollback restores the merged watermark separately from the peers' watermarks: after the number of
// peers has grown, these can't be merged until each peer has sent one, but windows have already
// been emitted.
func (r *shuffleReader) rollback() {
	r.peers, r.count, r.now, r.saved = make(map[int64]peerWatermark), 0, minWatermark, minWatermark
	r.clear()
	prefix := peerKey + r.topic + "/"
	r.task.store.Scan(watermarkEntry, 0, func(key, value []byte) bool {
		if len(key) == len(prefix)+8 && string(key[:len(prefix)]) == prefix {
			in := &reader{b: value}
			r.count = max(r.count, in.int64())
			r.peers[(&reader{b: key[len(prefix):]}).int64()] = peerWatermark{in.int64(), in.byte() == 1}
		}
		return true
	})
	if value, known := r.task.store.Get(watermarkEntry, 0, r.reachedKey()); known {
		in := &reader{b: value}
		r.saved = in.int64()
		if in.err != nil {
			r.task.fail(errState)
		}
	}
	least, _ := r.least()
	r.now = max(r.saved, least)
}

func (r *shuffleReader) replayWatermark() {
	if r.now != minWatermark {
		r.forwardWatermark(r.now, false)
	}
}

func (r *shuffleReader) ended() bool { return r.now == maxWatermark }

func (r *shuffleReader) currentWatermark() (watermark int64, idle bool) {
	_, idle = r.least()
	return r.now, idle
}
