package spool

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// Entry is what one request or message contains: it is stored as a whole or not at all.
type Entry struct {
	Readings []reading.Reading // valid but for Seq and Boot, which the spool assigns
	Rejected []Rejected
	Messages []source.Message // for topics of their own
	Counts   []Count          // the devices' own numbers of the readings
	Notes    []Note

	Key    string   // idempotency key; "" for none
	Digest [32]byte // of the body that the key stands for
	Answer []byte   // returned for repeats of the key

	Delivery *Delivery // nil for none
}

// Rejected is input that is not a valid reading, for the dead-letter topic.
type Rejected struct {
	Raw    []byte
	Reason string
	Origin []source.Attribute // where it came from
}

// Note is what a sender of entries wants to know after a restart: it is as durable as its entry,
// and replaces an earlier note with the same key.
type Note struct {
	Key   string
	Value []byte // nil deletes the note
}

// remembered is what a key stands for.
type remembered struct {
	digest [32]byte
	answer []byte
	at     time.Time
}

// batch is a sequence of entries that became durable together.
type batch struct {
	first int64 // number of the first item
	count int64 // of items
	at    time.Time
	boot  string // of the readings
	items []source.Item
	keys  map[string]remembered

	counts []Count
	notes  []Note

	deliveries []delivered
}

// items returns the number of items that an entry becomes if it keeps the given readings.
func (e *Entry) items(readings int) int64 {
	return int64(readings + len(e.Rejected) + len(e.Messages))
}

// size returns an upper bound of the entry's encoded size.
func (e *Entry) size() int {
	const number = binary.MaxVarintLen64
	n := 64 + len(e.Key) + len(e.Answer)
	for i := range e.Readings {
		r := &e.Readings[i]
		n += len(r.DeviceID) + len(r.Sensor) + len(r.Unit) + 6*number
	}
	for _, r := range e.Rejected {
		n += len(r.Raw) + len(r.Reason) + 3*number
		for _, a := range r.Origin {
			n += len(a.Name) + len(a.Value) + 2*number
		}
	}
	for i := range e.Messages {
		m := &e.Messages[i]
		n += len(m.Topic) + len(m.Key) + len(m.Value) + 5*number
		for _, a := range m.Headers {
			n += len(a.Name) + len(a.Value) + 2*number
		}
	}
	for i := range e.Counts {
		n += len(e.Counts[i].Device) + len(e.Counts[i].Boot) + 5*number
	}
	for i := range e.Notes {
		n += len(e.Notes[i].Key) + len(e.Notes[i].Value) + 3*number
	}
	if e.Delivery != nil {
		n += len(e.Delivery.Session) + 3*number
	}
	return n
}

// Kinds of parts in a batch.
const (
	partReading = iota + 1
	partRejected
	partKey
	partDelivery
	partMessage
	partCount
	partNote
)

// appendBatch appends the beginning of a batch; its parts follow.
func appendBatch(b []byte, first, count int64, at time.Time, boot string) []byte {
	b = append(b, frameBatch)
	b = binary.AppendUvarint(b, uint64(first))
	b = binary.AppendUvarint(b, uint64(count))
	b = binary.AppendVarint(b, at.UnixMilli())
	return appendText(b, boot)
}

func appendReading(b []byte, r *reading.Reading, seq int64) []byte {
	b = append(b, partReading)
	b = appendText(appendText(appendText(b, r.DeviceID), r.Sensor), r.Unit)
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.Value))
	b = binary.AppendVarint(b, r.TS)
	return binary.AppendUvarint(b, uint64(seq))
}

func appendRejected(b []byte, r *Rejected) []byte {
	b = append(b, partRejected)
	b = appendText(appendText(b, string(r.Raw)), r.Reason)
	return appendAttributes(b, r.Origin)
}

func appendMessage(b []byte, m *source.Message) []byte {
	b = append(b, partMessage)
	b = appendText(appendText(appendText(b, m.Topic), m.Key), string(m.Value))
	b = binary.AppendVarint(b, m.TS)
	return appendAttributes(b, m.Headers)
}

func appendAttributes(b []byte, all []source.Attribute) []byte {
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, a := range all {
		b = appendText(appendText(b, a.Name), a.Value)
	}
	return b
}

func appendCount(b []byte, c *Count) []byte {
	b = append(b, partCount)
	b = appendText(appendText(b, c.Device), c.Boot)
	return binary.AppendVarint(binary.AppendUvarint(b, uint64(c.Seq)), c.At)
}

func appendNote(b []byte, n *Note) []byte {
	b = append(b, partNote)
	b = appendText(b, n.Key)
	if n.Value == nil {
		return append(b, 0)
	}
	return appendText(append(b, 1), string(n.Value))
}

func appendKey(b []byte, key string, k *remembered) []byte {
	b = append(b, partKey)
	b = appendText(b, key)
	b = append(b, k.digest[:]...)
	b = appendText(b, string(k.answer))
	return binary.AppendVarint(b, k.at.UnixMilli())
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errDecode = errors.New("the frame's content is invalid")

// decodeBatch decodes the payload of a batch frame.
func decodeBatch(payload []byte) (*batch, error) {
	d := decoder{rest: payload}
	if d.byte() != frameBatch {
		return nil, errDecode
	}
	b := &batch{first: d.count(), count: d.count(), at: time.UnixMilli(d.varint()), boot: d.text(), keys: make(map[string]remembered)}
	for len(d.rest) > 0 && !d.failed {
		switch d.byte() {
		case partReading:
			it := source.Item{Reading: reading.Reading{DeviceID: d.text(), Sensor: d.text(), Unit: d.text()}}
			it.Value, it.TS, it.Seq, it.Boot = math.Float64frombits(d.uint64()), d.varint(), d.count(), b.boot
			b.items = append(b.items, it)
		case partRejected:
			it := source.Item{Raw: []byte(d.text()), Err: errors.New(d.text())}
			it.Origin = d.attributes()
			b.items = append(b.items, it)
		case partMessage:
			m := &source.Message{Topic: d.text(), Key: d.text(), Value: []byte(d.text()), TS: d.varint()}
			m.Headers = d.attributes()
			b.items = append(b.items, source.Item{Message: m})
		case partCount:
			b.counts = append(b.counts, Count{Device: d.text(), Boot: d.text(), Seq: d.count(), At: d.varint()})
		case partNote:
			b.notes = append(b.notes, d.note())
		case partKey:
			key, k := d.key()
			b.keys[key] = k
		case partDelivery:
			b.deliveries = append(b.deliveries, delivered{d.text(), d.sent()})
		default:
			d.failed = true
		}
	}
	if d.failed || b.count != int64(len(b.items)) || b.first > math.MaxInt64-b.count {
		return nil, errDecode
	}
	return b, nil
}

// decoder reads the parts of a payload. After a failure it returns zero values.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) take(n uint64) []byte {
	if d.failed || n > uint64(len(d.rest)) {
		d.failed, d.rest = true, nil
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		n = len(d.rest) + 1
	}
	d.take(uint64(n))
	if d.failed {
		return 0
	}
	return v
}

// count reads a number that is not negative.
func (d *decoder) count() int64 {
	v := d.uvarint()
	if v > math.MaxInt64 {
		d.failed = true
		return 0
	}
	return int64(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		n = len(d.rest) + 1
	}
	d.take(uint64(n))
	if d.failed {
		return 0
	}
	return v
}

func (d *decoder) text() string { return string(d.take(d.uvarint())) }

func (d *decoder) key() (string, remembered) {
	var k remembered
	key := d.text()
	copy(k.digest[:], d.take(uint64(len(k.digest))))
	k.answer = []byte(d.text())
	k.at = time.UnixMilli(d.varint())
	return key, k
}

func (d *decoder) attributes() (all []source.Attribute) {
	for n := d.count(); n > 0 && !d.failed; n-- {
		all = append(all, source.Attribute{Name: d.text(), Value: d.text()})
	}
	return all
}

func (d *decoder) note() Note {
	n := Note{Key: d.text()}
	if d.byte() == 1 {
		n.Value = append([]byte{}, d.text()...)
	}
	return n
}
