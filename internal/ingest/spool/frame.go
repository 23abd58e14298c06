package spool

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A frame is magic, length and checksum of the payload, 4 bytes each in big endian, and the
// payload. The checksum covers the segment's salt, the length and the payload. The salt is random,
// so that bytes that look like a frame but were sent by a device are not taken for one.
const frameHead = 12

var (
	magic      = []byte("wSp1")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Kinds of frames: the first byte of the payload.
const (
	frameHeader = iota + 1
	frameBatch
)

// beginFrame appends the head of a frame, which endFrame completes.
func beginFrame(b []byte) []byte {
	return append(append(b, magic...), make([]byte, frameHead-len(magic))...)
}

// endFrame completes a frame.
func endFrame(b []byte, salt string) {
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-frameHead))
	binary.BigEndian.PutUint32(b[8:], checksum(b, salt))
}

// checksum returns the checksum of a whole frame.
func checksum(frame []byte, salt string) uint32 {
	sum := crc32.Checksum([]byte(salt), castagnoli)
	return crc32.Update(crc32.Update(sum, castagnoli, frame[4:8]), castagnoli, frame[frameHead:])
}

// frameAt returns the payload of the frame at the start of data; ok is false if there is none, or
// it is damaged.
func frameAt(data []byte, salt string) (payload []byte, ok bool) {
	if len(data) <= frameHead || !bytes.HasPrefix(data, magic) {
		return nil, false
	}
	size := int64(binary.BigEndian.Uint32(data[4:]))
	if size == 0 || size > int64(len(data)-frameHead) {
		return nil, false
	}
	frame := data[:frameHead+size]
	if checksum(frame, salt) != binary.BigEndian.Uint32(data[8:]) {
		return nil, false
	}
	return frame[frameHead:], true
}

// nextFrame returns the position of the first valid frame of data, or -1.
func nextFrame(data []byte, salt string) int {
	for at := 0; ; {
		i := bytes.Index(data[at:], magic)
		if i < 0 {
			return -1
		}
		at += i
		if _, ok := frameAt(data[at:], salt); ok {
			return at
		}
		at++
	}
}

// header begins a segment.
type header struct {
	id    string
	epoch int64 // of the boot id; incremented when damage made the counters unknown
	first int64 // number of the first item
	next  map[string]int64
	keys  map[string]remembered

	windows  windows // absent in the headers of earlier versions
	counters map[string]*counter
	notes    map[string][]byte
}

// formatVersion is the version of headers; the first one had neither counters nor notes.
const formatVersion = 2

func (h *header) append(b []byte) []byte {
	b = append(b, frameHeader, formatVersion)
	b = appendText(b, h.id)
	b = binary.AppendUvarint(b, uint64(h.epoch))
	b = binary.AppendUvarint(b, uint64(h.first))
	b = binary.AppendUvarint(b, uint64(len(h.next)))
	for device, n := range h.next {
		b = binary.AppendUvarint(appendText(b, device), uint64(n))
	}
	b = binary.AppendUvarint(b, uint64(len(h.keys)))
	for key, k := range h.keys {
		b = appendKey(b, key, &k)
	}
	b = h.windows.append(b)
	b = binary.AppendUvarint(b, uint64(len(h.counters)))
	for device, c := range h.counters {
		b = c.append(appendText(b, device))
	}
	b = binary.AppendUvarint(b, uint64(len(h.notes)))
	for key, value := range h.notes {
		b = appendText(appendText(b, key), string(value))
	}
	return b
}

func decodeHeader(payload []byte) (*header, error) {
	d := decoder{rest: payload}
	kind, version := d.byte(), d.byte()
	if kind != frameHeader || version < 1 || version > formatVersion {
		return nil, errDecode
	}
	h := &header{
		id: d.text(), epoch: d.count(), first: d.count(), next: make(map[string]int64), keys: make(map[string]remembered),
		counters: make(map[string]*counter), notes: make(map[string][]byte),
	}
	for n := d.count(); n > 0 && !d.failed; n-- {
		device := d.text()
		h.next[device] = d.count()
	}
	for n := d.count(); n > 0 && !d.failed; n-- {
		if d.byte() != partKey {
			return nil, errDecode
		}
		key, k := d.key()
		h.keys[key] = k
	}
	h.windows.of = make(map[string]*window)
	if len(d.rest) > 0 {
		h.windows = d.windows()
	}
	if version > 1 {
		for n := d.count(); n > 0 && !d.failed; n-- {
			device := d.text()
			h.counters[device] = d.counter()
		}
		for n := d.count(); n > 0 && !d.failed; n-- {
			key := d.text()
			h.notes[key] = []byte(d.text())
		}
	}
	if d.failed || len(d.rest) > 0 || h.id == "" {
		return nil, errDecode
	}
	return h, nil
}
